#include "engine/roof.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace candor::engine {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kTrial_s = 0.45;  // for each figure
constexpr int64_t kBufferFloats = int64_t{64} << 20;
constexpr int64_t kRounds = 100'000;  // of register arithmetic per thread and trial, a few milliseconds

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The highest rate, in units a second, of trials that return how many units they did.
template <typename Trial>
double best_rate(Trial trial) {
  double best = 0;
  const auto start = Clock::now();
  do {
    const auto trial_start = Clock::now();
    const double units = trial();
    best = std::max(best, units / seconds_since(trial_start));
  } while (seconds_since(start) < kTrial_s);
  return best;
}

}  // namespace

Roof measure_roof(ThreadPool& pool, const Kernels& kernels) {
  const int64_t threads = pool.threads();
  // One slot per thread, a cache line apart. What is computed goes in and comes out, so none of it can be left out.
  constexpr int64_t kSlot = 16;
  std::vector<float> values(static_cast<size_t>(threads * kSlot), 1.0f);
  std::vector<int64_t> operations(static_cast<size_t>(threads * kSlot));
  Roof roof;
  auto arithmetic = [&](int64_t (*multiply_add)(int64_t, float*)) {
    return best_rate([&] {
      pool.run(threads, [&](int64_t i, int) {
        const size_t slot = static_cast<size_t>(i * kSlot);
        operations[slot] = multiply_add(kRounds, &values[slot]);
      });
      int64_t total = 0;
      for (const int64_t count : operations) total += count;
      return static_cast<double>(total);
    });
  };
  roof.float32_gflops = 1e-9 * arithmetic(kernels.multiply_add);
  roof.bf16_gflops = kernels.bf16_multiply_add == kernels.multiply_add ? roof.float32_gflops
                                                                       : 1e-9 * arithmetic(kernels.bf16_multiply_add);
  roof.int8_gops = 1e-9 * arithmetic(kernels.int8_multiply_add);
  roof.int4_gops = kernels.int4_multiply_add == kernels.int8_multiply_add
                       ? roof.int8_gops
                       : 1e-9 * arithmetic(kernels.int4_multiply_add);
  const std::vector<float> buffer(static_cast<size_t>(kBufferFloats), 1.0f);
  roof.dram_read_gbs = 1e-9 * best_rate([&] {
                         constexpr int64_t kPieces = 64, kHalf = kBufferFloats / kPieces / 2;
                         pool.run(kPieces, [&](int64_t i, int thread) {
                           const float* piece = buffer.data() + i * 2 * kHalf;
                           values[static_cast<size_t>(thread * kSlot)] += kernels.dot(piece, piece + kHalf, kHalf);
                         });
                         return static_cast<double>(kBufferFloats * int64_t{sizeof(float)});
                       });
  return roof;
}

}  // namespace candor::engine
