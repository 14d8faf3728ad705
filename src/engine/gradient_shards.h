// Gradients that do not depend on micro-batches or on the number of ranks (docs/adr/0002).
//
// A step's groups form S contiguous shards. Inside a shard the gradient kernels add token after token, so any split
// into micro-batches gives the same bits; the shards are then added in a fixed tree, (0+1)+(2+3), depth first, which
// needs log2(S)+1 buffers.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/memory.h"
#include "engine/trainable.h"

namespace candor::engine {

struct ShardRange {
  int64_t begin, end;  // groups [begin, end); may be empty
};
// The `shards` contiguous ranges of `groups` groups.
std::vector<ShardRange> shard_ranges(int64_t groups, int64_t shards);

// The processes that share a step, its ranks, as one of them sees them. Each computes the contiguous shards that are
// its own, which are a subtree of the tree, so that 1, 2 or 4 ranks give the same bits.
struct World {
  int64_t rank = 0, ranks = 1;  // shards / ranks is a power of two
  // Puts the sum of all ranks' sums, added in the same tree, in the place of this one's. Empty for one rank.
  std::function<void(Buffer& sum)> add_up = {};
};

class GradientShards {
 public:
  // shards >= 1.
  GradientShards(MemoryLedger& ledger, int64_t shards, const Trainable& trainable, World world = {});

  // Calls accumulate(shard, gradients) for every shard of this rank in order, gradients zeroed before; returns the sum
  // over the tree, in which a tied embedding's two gradients are one.
  const Buffer& reduce(const Context& context, const std::function<void(int64_t shard, float* gradients)>& accumulate);
  Buffer& total() { return buffers_[0]; }

 private:
  void reduce(const Context& context, int64_t begin, int64_t end, size_t depth,
              const std::function<void(int64_t, float*)>& accumulate);
  int64_t shards_;  // of this rank
  World world_;
  Trainable trainable_;
  std::vector<Buffer> buffers_;
};

}  // namespace candor::engine
