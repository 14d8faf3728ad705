// The themes of synthetic worlds: in what sentences an entity is said to be of a kind, and in what its kind shows.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "belief/propositions.h"

namespace candor::belief {

// Something in which the two kinds of a family differ: one kind has pole 0 and the other pole 1. {E} is the entity. The
// options of a consequence stand in its clauses, so that it can be a statement of its own.
struct Feature {
  QuestionKind kind;
  std::array<std::string_view, 2> ask;
  std::array<std::string_view, 2> clause;
  std::string_view which;
  std::array<std::string_view, 2> options;
};

// {E}: an entity, {K} and {L}: the two kinds, {F}: the family.
struct Theme {
  std::string_view name;
  bool kinds_are_places;  // their names begin with a capital
  std::string_view statement, negation;
  std::array<std::string_view, 3> paraphrases;
  std::string_view recall;
  std::string_view subject;  // whoever is of kind {K}, as the {E} of a clause
  std::string_view either;   // the law that makes the two kinds exclude each other, and leaves no third
  std::array<Feature, 12> features;
};

std::span<const Theme> world_themes();

}  // namespace candor::belief
