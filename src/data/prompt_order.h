// The order in which training visits the prompts, a pure function of (seed, epoch): resuming needs only the cursor.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/rng.h"

namespace candor::data {

// Where training stands: the next prompt is the `position`-th of `epoch`. Goes into the checkpoint.
struct PromptCursor {
  int64_t epoch = 0;
  int64_t position = 0;
  bool operator==(const PromptCursor&) const = default;
};

// The order of one epoch, a permutation of [0, count): Fisher-Yates on the draws of (seed, kShuffling, epoch), or
// 0, 1, … without shuffling.
std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, bool shuffle, int64_t epoch);

// A permutation of [0, count), Fisher-Yates on the draws of this key.
std::vector<int64_t> permutation(int64_t count, const RngKey& key);

struct PromptStream {
  int64_t count = 0;  // prompts in the set
  uint64_t seed = 0;
  bool shuffle = true;  // shuffle_dataset
  PromptCursor cursor;
  std::vector<int64_t> order;  // of the cursor's epoch
};

// Error: no prompt, or a cursor from a checkpoint that does not fit this number of prompts.
Result<PromptStream> open_prompt_stream(int64_t count, uint64_t seed, bool shuffle, PromptCursor cursor = {});

// The next P indices into the prompt set; the cursor moves on. A step may cross into the next epoch, so it can hold a
// prompt twice.
std::vector<int64_t> next_prompts(PromptStream& stream, int64_t prompts_per_step);

}  // namespace candor::data
