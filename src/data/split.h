// A dataset in two: what is trained on and what is held out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "data/rows.h"

namespace candor::data {

struct SplitOptions {
  std::optional<int64_t> eval_rows = {};  // held out; one of the two is set
  std::optional<double> eval_share = {};  // of the rows, in (0, 1)
  uint64_t seed = 0;
  std::string group_by = {};  // a column: rows with an equal value stay together; empty: each row by itself
};

struct Split {
  Rows train, eval;  // each in the file's order
};

// Draws groups in an order given by the seed alone and holds out each that still fits into what was asked: with groups
// it may be fewer rows, or, where every group is larger, the smallest group. Error: nothing would be left on one side,
// a row lacks the column.
Result<Split> split_rows(const Rows& rows, const SplitOptions& options);

// Rows of `eval` whose `prompt` (or first message) a row of `train` has too.
int64_t shared_prompts(const Split& split);

}  // namespace candor::data
