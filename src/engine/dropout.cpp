#include "engine/dropout.h"

#include <cmath>

#include "base/rng.h"
#include "engine/matrix_products.h"

namespace candor::engine {

namespace {

constexpr int64_t kBlock = 8;  // numbers that one draw decides, 16 bits each

// act(k, factor) for every number of one token's row: 0 where it is dropped, 1/(1 − p) where it is kept. p is taken to
// the nearest 1/65536, in the draw and in the factor alike.
template <typename Act>
void each_factor(const DropoutMask& mask, int64_t token, int64_t width, Act act) {
  const Dropout& d = mask.dropout;
  const auto threshold = static_cast<uint32_t>(std::lround(mask.probability * 65536));
  const auto kept = static_cast<float>(65536.0 / (65536.0 - static_cast<double>(threshold)));
  const RngKey key{d.key.seed, RngStream::kDropout, d.key.step, d.rows[token]};
  const uint64_t place = static_cast<uint64_t>(d.positions[token]) << 40 | static_cast<uint64_t>(mask.module) << 20;
  for (int64_t k = 0; k < width; k += kBlock) {
    const auto words = random_words(key, place | static_cast<uint64_t>(k / kBlock));
    for (int64_t j = 0; j < kBlock; ++j) {
      const uint32_t bits = words[j / 2] >> (j % 2 * 16) & 0xffff;
      act(k + j, bits < threshold ? 0.0f : kept);
    }
  }
}

}  // namespace

void DropoutMask::apply(const Context& context, int64_t begin, int64_t end, int64_t width, const float* from,
                        float* to) const {
  for_rows(context.pool, end - begin, [&](int64_t i) {
    const int64_t at = (begin + i) * width;
    each_factor(*this, begin + i, width, [&](int64_t k, float factor) { to[at + k] = factor * from[at + k]; });
  });
}

void DropoutMask::add(const Context& context, int64_t begin, int64_t end, int64_t width, const float* from,
                      float* to) const {
  for_rows(context.pool, end - begin, [&](int64_t i) {
    const int64_t at = (begin + i) * width;
    each_factor(*this, begin + i, width, [&](int64_t k, float factor) { to[at + k] += factor * from[at + k]; });
  });
}

}  // namespace candor::engine
