// Rows of a weight matrix in the bytes of a type, by one of several methods.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/context.h"
#include "engine/quantization/gptq.h"
#include "engine/quantization/group_grid.h"

namespace candor::engine {

// How codes are chosen. A type without a grid knows only rounding to the nearest.
enum class QuantizeMethod {
  kRoundToNearest,  // scales from the extremes, as gguf-py and llama.cpp's reference do it
  kGptq             // gptq.h
};

// "rtn", "gptq". Error: another word.
Result<QuantizeMethod> find_quantize_method(std::string_view name);

// The bytes of w [rows, width] as `type`, width in whole groups of it, one row after another: by GPTQ with what is
// known of the layer's inputs, or to nearest where `inputs` is null. `name` and `first_row` are for messages. Error: a
// value that is not finite or that the type cannot hold.
Result<std::string> quantize_rows(const Context& context, const WeightType& type, const HessianFactor* inputs,
                                  const float* w, int64_t rows, int64_t width, std::string_view name,
                                  int64_t first_row);

}  // namespace candor::engine
