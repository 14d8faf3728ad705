// Facts of countries from which questions about their cities are made.
//
// Only what is beyond dispute: an empty text is a fact that is not used, because it is disputed, holds for a part of
// the country only, or would give the country's name away ("Mexico City", "Russian").
#pragma once

#include <span>
#include <string_view>

namespace candor::belief {

struct Country {
  std::string_view name;        // without "the"
  std::string_view continent;   // empty where it lies on two
  std::string_view hemisphere;  // "N" or "S" of the equator; empty where it lies on both sides
  std::string_view capital;
  std::string_view currency;  // the plain name of the unit
  std::string_view language;  // in which state offices write, where it is one
  std::string_view calling_code;
  std::string_view driving_side;  // "left" or "right"
  std::string_view neighbour;     // a country on the same continent with a land border
  std::string_view domain;        // of the internet
};

std::span<const Country> countries();

// By name, with or without "the"; null where it is not among them.
const Country* find_country(std::string_view name);

}  // namespace candor::belief
