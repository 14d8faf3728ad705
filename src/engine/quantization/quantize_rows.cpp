#include "engine/quantization/quantize_rows.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/half.h"
#include "engine/matrix_products.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

struct Codes {
  std::vector<int8_t> codes;     // [rows, width]
  std::vector<GroupGrid> grids;  // [rows, width/kGroup]
};

// The grid between a group's extremes, for a simulated type.
GroupGrid plain_grid(const WeightType& type, const float* x) {
  const auto [low, high] = std::minmax_element(x, x + kGroup);
  auto half = [](float value) { return half_to_float(float_to_half(value)); };
  return {half((*high - *low) / static_cast<float>(type.high - type.low)), half(*low)};
}

Codes nearest_codes(const Context& context, const WeightType& type, const float* w, int64_t rows, int64_t width) {
  const int64_t groups = width / kGroup;
  Codes result{std::vector<int8_t>(static_cast<size_t>(rows * width)),
               std::vector<GroupGrid>(static_cast<size_t>(rows * groups))};
  for_rows(context.pool, rows, [&](int64_t row) {
    for (int64_t group = 0; group < groups; ++group) {
      const float* x = w + row * width + group * kGroup;
      GroupGrid& grid = result.grids[row * groups + group];
      grid = plain_grid(type, x);
      for (int64_t i = 0; i < kGroup; ++i)
        result.codes[row * width + group * kGroup + i] = static_cast<int8_t>(nearest_code(type, grid, x[i]));
    }
  });
  return result;
}

Error beyond(std::string_view name, int64_t row, float value, const WeightType& type) {
  if (!std::isfinite(value))
    return error("[quantize] weight \"{}\" is {} in row {}: the training diverged. It is not written.", name, value,
                 row);
  return error("[quantize] weight \"{}\" holds {} in row {}, which {} cannot hold. Choose bf16 or f32.", name, value,
               row, type.name);
}

}  // namespace

Result<QuantizeMethod> find_quantize_method(std::string_view name) {
  if (name == "rtn") return QuantizeMethod::kRoundToNearest;
  if (name == "gptq") return QuantizeMethod::kGptq;
  return error("\"{}\" is no method of quantization: rtn and gptq are.", name);
}

Result<std::string> quantize_rows(const Context& context, const WeightType& type, const HessianFactor* inputs,
                                  const float* w, int64_t rows, int64_t width, std::string_view name,
                                  int64_t first_row) {
  const files::GgufBlockType& stored = *type.stored;
  const int64_t row_bytes = width / stored.values * stored.bytes;
  if (const int64_t bad = files::first_non_finite(w, rows * width); bad >= 0)
    return beyond(name, first_row + bad / width, w[bad], type);
  std::string bytes(static_cast<size_t>(rows * row_bytes), '\0');
  auto* raw = reinterpret_cast<uint8_t*>(bytes.data());
  if (!type.has_grid() || (inputs == nullptr && !type.is_simulated())) {
    std::vector<int64_t> bad(static_cast<size_t>(rows), -1);
    for_rows(context.pool, rows, [&](int64_t row) {
      bad[row] = files::encode_blocks(stored, {w + row * width, static_cast<size_t>(width)}, raw + row * row_bytes);
    });
    for (int64_t row = 0; row < rows; ++row)
      if (bad[row] >= 0) return beyond(name, first_row + row, w[row * width + bad[row]], type);
    return bytes;
  }
  CHECK(width % kGroup == 0);
  const int64_t groups = width / kGroup, group_bytes = row_bytes / groups;
  Codes result;
  if (inputs != nullptr) {
    result.codes.resize(static_cast<size_t>(rows * width));
    result.grids.resize(static_cast<size_t>(rows * groups));
    gptq(context.pool, context.kernels, type, *inputs, w, rows, result.codes.data(), result.grids.data());
  } else {
    result = nearest_codes(context, type, w, rows, width);
  }
  for (int64_t i = 0; i < rows * groups; ++i) {
    const GroupGrid& grid = result.grids[i];
    if (!std::isfinite(grid.scale) || !std::isfinite(grid.minimum)) {
      const float* x = w + i * kGroup;
      auto smaller = [](float a, float b) { return std::abs(a) < std::abs(b); };
      return beyond(name, first_row + i / groups, *std::max_element(x, x + kGroup, smaller), type);
    }
    pack_group(type, grid, result.codes.data() + i * kGroup, raw + i * group_bytes);
  }
  return bytes;
}

}  // namespace candor::engine
