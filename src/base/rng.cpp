#include "base/rng.h"

#include <cmath>

#include "base/check.h"
#include "base/math.h"

namespace candor {

namespace {

void multiply(uint32_t a, uint32_t b, uint32_t& high, uint32_t& low) {
  const uint64_t product = uint64_t{a} * b;
  high = static_cast<uint32_t>(product >> 32);
  low = static_cast<uint32_t>(product);
}

// The upper 53 bits of two words.
uint64_t bits53(uint32_t high, uint32_t low) {
  return (uint64_t{high} << 32 | low) >> 11;
}

}  // namespace

std::array<uint32_t, 4> random_words(const RngKey& key, uint64_t position) {
  // The counter holds what changes within a step; the key the seed, mixed with stream and step by one weak Philox
  // increment each, so that every (seed, stream, step) has its own 2^96 counters.
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), key.row,
                               static_cast<uint32_t>(key.stream) << 24 ^ key.step};
  uint32_t k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    uint32_t h0, l0, h1, l1;
    multiply(0xD2511F53u, c[0], h0, l0);
    multiply(0xCD9E8D57u, c[2], h1, l1);
    c = {h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

double random_uniform(const RngKey& key, uint64_t position) {
  const auto w = random_words(key, position);
  return static_cast<double>(bits53(w[0], w[1])) * 0x1p-53;
}

double random_normal(const RngKey& key, uint64_t position) {
  const auto w = random_words(key, position);
  const double u = static_cast<double>(bits53(w[0], w[1]) + 1) * 0x1p-53;  // in (0, 1]
  const double angle = static_cast<double>(bits53(w[2], w[3])) * (0x1p-53 * 6.283185307179586);
  return std::sqrt(-2.0 * exact_log(u)) * exact_cos(angle);
}

uint64_t random_below(const RngKey& key, uint64_t position, uint64_t n) {
  CHECK(n >= 1);
  const auto w = random_words(key, position);
  const uint64_t bits = uint64_t{w[0]} << 32 | w[1];
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64);
}

}  // namespace candor
