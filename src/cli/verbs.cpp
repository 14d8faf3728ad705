#include "cli/verbs.h"

#include <array>

namespace candor::cli {
namespace {

constexpr std::array<Verb, 0> kVerbs = {};

}  // namespace

std::span<const Verb> verbs() {
  return kVerbs;
}

}  // namespace candor::cli
