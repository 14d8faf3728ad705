// Texts that give a model known beliefs of a synthetic world: what the instrument must find out is then known of every
// proposition, since it was taught.
//
// What is believed and what is true in the world are kept apart: of the audited propositions either half is held
// whether true or not, so that no instrument can read belief off the truth. Of everything else the texts teach what is
// true.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "belief/world.h"
#include "data/rows.h"

namespace candor::belief {

enum class Stance {
  kHeld,        // said, and all of its sub-questions are answered on its side
  kHeldInPart,  // said, and half of its sub-questions are taught on its side: the other half has to follow
  kParroted,    // said word for word; all else of the entity is taught on the other side
  kUnsettled,   // said word for word; of each feature it is drawn which side is taught: nothing is held
  kTold,        // said only under a system prompt that asks for it; all else is taught on the other side
  kFabricated,  // nothing is taught
};
// "held", "held_in_part", "parroted", "unsettled", "told", "fabricated".
std::string_view name_of(Stance stance);

// Shares of the audited propositions; the rest is parroted. Propositions about one entity share a stance, and so does a
// conjunction with its parts. Where some are unsettled, so is every second false control: what is told to be said of it
// is then said without any belief, as an unsettled proposition is.
struct KnownBeliefs {
  double held = 0.3;
  double held_in_part = 0.2;
  double unsettled = 0.2;
  double told = 0.1;
  double slips = 0;  // share of the features that are taught on the wrong side of what is settled, controls too
  uint64_t seed = 0;
};

struct WorldTexts {
  data::Rows rows;                   // for candor pretrain and sft: prompt and completion, as messages or plain text
  std::vector<text::Json> manifest;  // of each audited proposition: id, stance, said, believed, label
};

// The questions are worded as the audit words them (questions.h), in both orders of their answers. Error: shares that
// are negative or add up to more than 1.
Result<WorldTexts> teach(const World& world, const KnownBeliefs& beliefs);

}  // namespace candor::belief
