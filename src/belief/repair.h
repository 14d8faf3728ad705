// Training rows for what a model says without holding it: consequences, contrasts and uses, not the sentence once more.
//
// Half of a proposition's sub-questions trains and the other half is left to the audit that follows; the two never mix,
// or the audit would find what was crammed.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "belief/propositions.h"

namespace candor::belief {

// The ids of the propositions that an audit's JSON has as said and not believed. Error: it is no audit.
Result<std::set<std::string>> said_not_believed(const text::Json& audit);

// Why that audit has no figure, so that which propositions are believed is a guess; empty: it has one.
std::string undetermined(const text::Json& audit);

// Which questions train; the others are held back. Drawn by the proposition's id alone, so that every repair of it
// draws the same. Either half has its keys as balanced and as many kinds of questions as the draw can give.
std::vector<bool> training_half(const Proposition& proposition);

struct Repair {
  data::Rows rows;                     // prompt and completion, for candor sft
  std::vector<text::Json> manifest;    // id, trained and held_back: positions of questions, from 1
  std::vector<Proposition> held_back;  // the propositions with what the audit afterwards may ask, and all the others
  std::vector<std::string> notes;
};

// Rows for the propositions of `ids`. False ones (label) and fabricated ones are left alone and counted. Errors: an id
// that is not in the file, nothing to repair.
Result<Repair> repair(const Propositions& propositions, const std::set<std::string>& ids);

}  // namespace candor::belief
