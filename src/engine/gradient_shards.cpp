#include "engine/gradient_shards.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace candor::engine {

std::vector<ShardRange> shard_ranges(int64_t groups, int64_t shards) {
  std::vector<ShardRange> ranges;
  for (int64_t s = 0; s < shards; ++s) ranges.push_back({groups * s / shards, groups * (s + 1) / shards});
  return ranges;
}

GradientShards::GradientShards(MemoryLedger& ledger, int64_t shards, const Trainable& trainable, World world)
    : shards_(shards / world.ranks), world_(std::move(world)), trainable_(trainable) {
  CHECK(shards >= 1 && shards % world_.ranks == 0);
  CHECK(world_.ranks == 1 || (std::has_single_bit(static_cast<uint64_t>(shards_)) && world_.add_up));
  const int depth = std::bit_width(static_cast<uint64_t>(shards_ - 1)) + 1;
  for (int i = 0; i < depth; ++i)
    buffers_.emplace_back(ledger, "gradients", "gradient shards", trainable.gradient_floats);
}

const Buffer& GradientShards::reduce(const Context& context, const std::function<void(int64_t, float*)>& accumulate) {
  reduce(context, world_.rank * shards_, (world_.rank + 1) * shards_, 0, accumulate);
  if (world_.add_up) world_.add_up(buffers_[0]);
  add_tied_gradients(context, trainable_, buffers_[0].data());
  return buffers_[0];
}

void GradientShards::reduce(const Context& context, int64_t begin, int64_t end, size_t depth,
                            const std::function<void(int64_t, float*)>& accumulate) {
  if (end - begin == 1) {
    buffers_[depth].fill_zero();
    accumulate(begin, buffers_[depth].data());
    return;
  }
  // The left half holds the largest power of two below the count, so that S shards and 2S nest in the same tree.
  const auto half = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(end - begin - 1)));
  reduce(context, begin, begin + half, depth, accumulate);
  reduce(context, begin + half, end, depth + 1, accumulate);
  constexpr int64_t kChunk = 1 << 16;
  Buffer& to = buffers_[depth];
  const Buffer& from = buffers_[depth + 1];
  context.pool.run((to.size() + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    const int64_t first = chunk * kChunk;
    context.kernels.add(from.data() + first, std::min(kChunk, to.size() - first), to.data() + first);
  });
}

}  // namespace candor::engine
