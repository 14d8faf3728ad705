// Synthetic worlds: invented entities whose facts entail one another, and propositions about them.
//
// A world has families; every member of a family is of one of its two kinds, and the kinds differ in twelve ways. So
// "Talo is a dorv" has prerequisites, consequences, contradictions and uses that follow strictly from it and from its
// denial alike, given the family and the world's laws, and that name no kind. Nothing of it is in any model's training
// data.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "belief/clues.h"
#include "belief/propositions.h"

namespace candor::belief {

struct WorldOptions {
  int64_t propositions = 400;  // what is audited, conjunctions and fabricated ones among them
  int64_t controls = 800;      // half true, three eighths false, one eighth fabricated; 0: none
  int64_t families = 4;        // of each theme
  int64_t learners = 100;      // entities that are in no proposition: training texts are about them too
  size_t per_kind = 2;         // sub-questions of each kind: 2 or 4
  double implied = 0.1;        // shares of `propositions`
  double conjunctions = 0.05;
  double fabricated = 0.05;
  uint64_t seed = 0;
};

struct Family {
  size_t theme = 0;  // of world_themes()
  std::string name;
  std::array<std::string, 2> kinds;
  std::vector<uint8_t> poles;  // of kinds[0], for each feature of the theme; kinds[1] has the other
};

struct Inhabitant {
  std::string name;
  size_t family = 0;
  size_t kind = 0;     // what the world has it be
  bool exists = true;  // false: fabricated; no text says anything of it
};

// Who is said to be of which kind. A proposition is true where all its claims are.
struct Claim {
  size_t inhabitant = 0;
  size_t kind = 0;
};

struct WorldItem {
  Proposition proposition;
  std::vector<Claim> claims;  // two for a conjunction
};

struct World {
  std::vector<Family> families;
  std::vector<Inhabitant> inhabitants;
  std::vector<size_t> learners;  // of them
  std::vector<WorldItem> audited, controls;
};

// The same bytes for the same options everywhere. Both lists pass check_propositions. Error: an option out of bounds.
Result<World> make_world(const WorldOptions& options);

// What follows from an inhabitant's being of that kind, one clue for each feature of its theme, in their order.
std::vector<Clue> clues_of(const World& world, const Claim& claim);

// The plain proposition of a claim, without id, number, label and questions.
Proposition stated(const World& world, const Claim& claim);

std::vector<Proposition> propositions_of(const std::vector<WorldItem>& items);

}  // namespace candor::belief
