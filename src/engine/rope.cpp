#include "engine/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/math.h"

namespace candor::engine {

namespace {

using files::RopeConfig;
using files::RopeType;

constexpr double kTwoPi = 2.0 * std::numbers::pi;

// Llama 3: wavelengths longer than the low-frequency bound are divided by factor, shorter than the high-frequency bound
// kept, and blended between.
double llama3(const RopeConfig& rope, double frequency) {
  const double wavelength = kTwoPi / frequency;
  const double low = rope.original_max_positions / rope.low_freq_factor;
  const double high = rope.original_max_positions / rope.high_freq_factor;
  if (wavelength < high) return frequency;
  if (wavelength > low) return frequency / rope.factor;
  const double smooth = (rope.original_max_positions / wavelength - rope.low_freq_factor) /
                        (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - smooth) * frequency / rope.factor + smooth * frequency;
}

// The dimension whose angle turns `rotations` times over the original context (yarn, section 3.2).
double yarn_dimension(const RopeConfig& rope, double rotations, int64_t head_dim) {
  return static_cast<double>(head_dim) * exact_log(rope.original_max_positions / (rotations * kTwoPi)) /
         (2.0 * exact_log(rope.theta));
}

}  // namespace

Rope make_rope(const files::ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  const int64_t half = rotated_pairs(config);
  Rope result;
  double yarn_low = 0, yarn_high = 0;
  if (rope.type == RopeType::kYarn) {
    yarn_low = yarn_dimension(rope, rope.beta_fast, config.head_dim);
    yarn_high = yarn_dimension(rope, rope.beta_slow, config.head_dim);
    if (rope.truncate) {
      yarn_low = std::floor(yarn_low);
      yarn_high = std::ceil(yarn_high);
    }
    yarn_low = std::max(yarn_low, 0.0);
    yarn_high = std::min(yarn_high, static_cast<double>(config.head_dim - 1));
    if (yarn_low == yarn_high) yarn_high += 0.001;
    result.factor = rope.attention_factor != 0.0 ? rope.attention_factor
                    : rope.factor <= 1.0         ? 1.0
                                                 : 0.1 * exact_log(rope.factor) + 1.0;
  }
  for (int64_t i = 0; i < half; ++i) {
    double f = exact_pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    switch (rope.type) {
      case RopeType::kDefault:
      case RopeType::kNone:
        break;
      case RopeType::kLinear:
        f /= rope.factor;
        break;
      case RopeType::kLlama3:
        f = llama3(rope, f);
        break;
      case RopeType::kYarn: {
        const double ramp = std::clamp((static_cast<double>(i) - yarn_low) / (yarn_high - yarn_low), 0.0, 1.0);
        f = f / rope.factor * ramp + f * (1.0 - ramp);
        break;
      }
    }
    if (!rope.frequency_divisors.empty()) f /= static_cast<double>(rope.frequency_divisors[static_cast<size_t>(i)]);
    result.frequencies.push_back(f);
  }
  return result;
}

void rope_angles(const Rope& rope, int64_t position, float* cosine, float* sine) {
  for (size_t i = 0; i < rope.frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * rope.frequencies[i];
    cosine[i] = static_cast<float>(exact_cos(angle) * rope.factor);
    sine[i] = static_cast<float>(exact_sin(angle) * rope.factor);
  }
}

}  // namespace candor::engine
