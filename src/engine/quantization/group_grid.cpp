#include "engine/quantization/group_grid.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"

namespace candor::engine {

namespace {

float to_half_and_back(double x) {
  return half_to_float(float_to_half(static_cast<float>(x)));
}

GroupGrid rounded(double scale, double minimum) {
  return {to_half_and_back(scale), to_half_and_back(minimum)};
}

double error_of(const WeightType& type, const GroupGrid& grid, const float* x, const float* weights) {
  double sum = 0;
  for (int64_t i = 0; i < kGroup; ++i) {
    const double off = static_cast<double>(x[i]) - static_cast<double>(grid.value(nearest_code(type, grid, x[i])));
    sum += static_cast<double>(weights[i]) * off * off;
  }
  return sum;
}

// Scale and minimum that fit x best, given the codes that `grid` gives it; `grid` again where they are not determined.
GroupGrid refit(const WeightType& type, const GroupGrid& grid, const float* x, const float* weights) {
  double w = 0, wc = 0, wcc = 0, wx = 0, wcx = 0;
  for (int64_t i = 0; i < kGroup; ++i) {
    const double code = nearest_code(type, grid, x[i]), weight = weights[i], value = x[i];
    w += weight;
    wc += weight * code;
    wcc += weight * code * code;
    wx += weight * value;
    wcx += weight * code * value;
  }
  if (!type.has_minimum) return wcc > 0 ? rounded(wcx / wcc, 0) : grid;
  const double determinant = w * wcc - wc * wc;
  if (!(determinant > 1e-9 * w * wcc)) return grid;
  return rounded((w * wcx - wc * wx) / determinant, (wcc * wx - wc * wcx) / determinant);
}

}  // namespace

double WeightType::bits_per_weight() const {
  if (!is_simulated()) return 8.0 * static_cast<double>(stored->bytes) / static_cast<double>(stored->values);
  return std::log2(high - low + 1) + (has_minimum ? 32.0 : 16.0) / static_cast<double>(kGroup);
}

Result<WeightType> find_weight_type(std::string_view name) {
  auto stored = [](std::string_view type) { return files::find_encoder(type); };
  if (name == "q8_0" || name == "int8") return WeightType{"Q8_0", stored("Q8_0"), -127, 127, false};
  if (name == "q4_0" || name == "int4") return WeightType{"Q4_0", stored("Q4_0"), -8, 7, false};
  if (name == "q4_1") return WeightType{"Q4_1", stored("Q4_1"), 0, 15, true};
  if (name == "int3") return WeightType{"3 bits", stored("F32"), 0, 7, true};
  if (name == "int2") return WeightType{"2 bits", stored("F32"), 0, 3, true};
  if (name == "f32" || name == "float32") return WeightType{"F32", stored("F32"), 0, 0, false};
  if (name == "f16" || name == "float16") return WeightType{"F16", stored("F16"), 0, 0, false};
  if (name == "bf16" || name == "bfloat16") return WeightType{"BF16", stored("BF16"), 0, 0, false};
  return error(
      "\"{}\" is no type of weights: int8 (q8_0), int4 (q4_0), q4_1, f32, f16 and bf16 are, and int3 and int2 "
      "are simulated.",
      name);
}

WeightType embedding_type_of(const WeightType& type) {
  constexpr int kEightBits = 127;
  return type.has_grid() && type.high < kEightBits ? *find_weight_type("q8_0") : type;
}

int nearest_code(const WeightType& type, const GroupGrid& grid, float x) {
  if (grid.scale == 0) return std::clamp(0, type.low, type.high);
  const float code = std::nearbyint((x - grid.minimum) / grid.scale);
  return static_cast<int>(std::clamp(code, static_cast<float>(type.low), static_cast<float>(type.high)));
}

GroupGrid least_error_grid(const WeightType& type, const float* x, const float* weights) {
  constexpr int kSteps = 9, kRefits = 2;
  constexpr double kStep = 0.03;  // of the range, at each end
  const auto [lowest, highest] = std::minmax_element(x, x + kGroup);
  const double low = *lowest, high = *highest;
  // Without a minimum the extreme of larger magnitude gets the code that lies farther out, of either sign.
  const double extreme = std::abs(low) > std::abs(high) ? low : high;
  GroupGrid best;
  double best_error = INFINITY;
  auto try_grid = [&](GroupGrid grid) {
    for (int i = 0; i <= kRefits; ++i) {
      const double error = error_of(type, grid, x, weights);
      if (error < best_error) best_error = error, best = grid;
      if (i < kRefits) grid = refit(type, grid, x, weights);
    }
  };
  for (int step = 0; step < kSteps; ++step) {
    const double shrink = kStep * step;
    if (type.has_minimum) {
      const double margin = shrink * (high - low);
      try_grid(rounded((high - low - 2 * margin) / (type.high - type.low), low + margin));
    } else {
      try_grid(rounded(extreme * (1 - shrink) / type.low, 0));
      if (type.high != -type.low) try_grid(rounded(extreme * (1 - shrink) / type.high, 0));
    }
  }
  return best_error < INFINITY ? best : rounded(type.has_minimum ? (high - low) / type.high : extreme / type.low, low);
}

void pack_group(const WeightType& type, const GroupGrid& grid, const int8_t* codes, uint8_t* raw) {
  CHECK(type.has_grid());
  if (type.is_simulated()) {
    float values[kGroup];
    for (int64_t i = 0; i < kGroup; ++i) values[i] = grid.value(codes[i]);
    std::memcpy(raw, values, sizeof(values));
    return;
  }
  const uint16_t scale = float_to_half(grid.scale);
  if (type.high > 15) return files::pack_q8_0(scale, codes, raw);
  uint8_t nibbles[kGroup];
  for (int64_t i = 0; i < kGroup; ++i) nibbles[i] = static_cast<uint8_t>(codes[i] - type.low);
  if (type.has_minimum)
    files::pack_q4_1(scale, float_to_half(grid.minimum), nibbles, raw);
  else
    files::pack_q4_0(scale, nibbles, raw);
}

}  // namespace candor::engine
