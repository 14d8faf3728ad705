// Rows of a weight matrix in the bytes of a type, by one of several methods.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/context.h"
#include "engine/quantization/gptq.h"
#include "engine/quantization/group_grid.h"

namespace candor::engine {

// How codes are chosen. A type without a grid knows only rounding to the nearest.
enum class QuantizeMethod {
  kRoundToNearest,  // scales from the extremes, as gguf-py and llama.cpp's reference do it
  kLeastError,      // scales with the least squared error of the weights
  kWeightedError,  // … of the outputs, inputs taken for independent: each weight's error times its input's mean square
  kGptq            // gptq.h
};

// "rtn", "mse", "weighted", "gptq". Error: another word.
Result<QuantizeMethod> find_quantize_method(std::string_view name);
inline bool needs_calibration(QuantizeMethod method) {
  return method == QuantizeMethod::kWeightedError || method == QuantizeMethod::kGptq;
}

// What a method knows of the layer's inputs.
struct InputStatistics {
  std::vector<float> mean_squares;      // [width], up to a common factor; kWeightedError
  std::optional<HessianFactor> factor;  // kGptq
};

// The bytes of w [rows, width] as `type`, width in whole groups of it, one row after another. statistics: null where
// the method needs none. `name` and `first_row` are for messages. Error: a value that is not finite or that the type
// cannot hold.
Result<std::string> quantize_rows(const Context& context, const WeightType& type, QuantizeMethod method, const float* w,
                                  int64_t rows, int64_t width, const InputStatistics* statistics, std::string_view name,
                                  int64_t first_row);

}  // namespace candor::engine
