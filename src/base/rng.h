// Counter-based random numbers: a draw is a pure function of (seed, stream, step, row, position), so nothing that runs
// before it, beside it or in another order can change it, and a checkpoint needs no generator state.
// Philox4x32-10, Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstdint>

namespace candor {

// One stream for each use, so that the draws of one cannot shift those of another.
enum class RngStream : uint32_t {
  kSampling = 1,
  kShuffling = 2,
  kInitialisation = 3,
  kBootstrap = 4,
  kData = 5,
  kDropout = 6
};

struct RngKey {
  uint64_t seed = 0;
  RngStream stream = RngStream::kSampling;
  uint32_t step = 0;
  uint32_t row = 0;
};

// Four independent 32-bit words for one position.
std::array<uint32_t, 4> random_words(const RngKey& key, uint64_t position);

// Uniform in [0, 1), 53 bits.
double random_uniform(const RngKey& key, uint64_t position);

// Normal with mean 0 and deviation 1 (Box and Muller, 1958), the same bits on every machine; never beyond ±8.6.
double random_normal(const RngKey& key, uint64_t position);

// Uniform integer in [0, n), n >= 1, without modulo bias beyond 2^-64·n.
uint64_t random_below(const RngKey& key, uint64_t position, uint64_t n);

}  // namespace candor
