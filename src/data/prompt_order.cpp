#include "data/prompt_order.h"

#include <numeric>
#include <utility>

#include "base/check.h"

namespace candor::data {
namespace {

constexpr int64_t kMostEpochs = int64_t{1} << 24;  // an RNG key's step has room for no more beside the stream

}  // namespace

std::vector<int64_t> epoch_order(int64_t count, uint64_t seed, bool shuffle, int64_t epoch) {
  CHECK(count >= 0 && epoch >= 0 && epoch < kMostEpochs);
  if (shuffle) return permutation(count, {seed, RngStream::kShuffling, static_cast<uint32_t>(epoch), 0});
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

std::vector<int64_t> permutation(int64_t count, const RngKey& key) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = count - 1; i > 0; --i) {
    const auto j = static_cast<int64_t>(random_below(key, static_cast<uint64_t>(i), static_cast<uint64_t>(i) + 1));
    std::swap(order[i], order[j]);
  }
  return order;
}

Result<PromptStream> open_prompt_stream(int64_t count, uint64_t seed, bool shuffle, PromptCursor cursor) {
  if (count < 1) return error("[prompts] the dataset is empty. Expected at least one row.");
  if (cursor.epoch < 0 || cursor.epoch >= kMostEpochs || cursor.position < 0 || cursor.position > count) {
    return error(
        "[prompts] the checkpoint stands at prompt {} of epoch {}, but the dataset has {} rows. Resume with the "
        "dataset of the first run.",
        cursor.position, cursor.epoch, count);
  }
  return PromptStream{count, seed, shuffle, cursor, epoch_order(count, seed, shuffle, cursor.epoch)};
}

std::vector<int64_t> next_prompts(PromptStream& stream, int64_t prompts_per_step) {
  CHECK(stream.count >= 1 && static_cast<int64_t>(stream.order.size()) == stream.count && prompts_per_step >= 0);
  std::vector<int64_t> indices;
  indices.reserve(prompts_per_step);
  while (static_cast<int64_t>(indices.size()) < prompts_per_step) {
    if (stream.cursor.position == stream.count) {
      stream.cursor = {stream.cursor.epoch + 1, 0};
      stream.order = epoch_order(stream.count, stream.seed, stream.shuffle, stream.cursor.epoch);
    }
    indices.push_back(stream.order[stream.cursor.position++]);
  }
  return indices;
}

}  // namespace candor::data
