// Weights on a grid of few bits: groups of 32 along the input share a scale and, in some types, a minimum.
//
// value(code) = code·scale + minimum, codes low … high, scale and minimum exact in binary16, as the blocks of GGUF have
// them. Types of 3 and 2 bits are simulated: on their grid, but stored as float32.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "files/gguf_block_encoders.h"

namespace candor::engine {

inline constexpr int64_t kGroup = files::kGroup;

struct WeightType {
  std::string_view name;                         // "Q4_0"; "3 bits" where it is simulated
  const files::GgufBlockType* stored = nullptr;  // how a file holds it
  int low = 0, high = 0;                         // codes; both 0: no grid (F32, F16, BF16)
  bool has_minimum = false;

  bool has_grid() const { return low != high; }
  bool is_simulated() const { return has_grid() && stored->values == 1; }
  double bits_per_weight() const;  // scales and minima included, of a simulated type as if there were blocks of it
};

// q8_0 or int8, q4_0 or int4, q4_1, f32 or float32, f16 or float16, bf16 or bfloat16; int3 and int2, which are
// simulated. Error: another word.
Result<WeightType> find_weight_type(std::string_view name);

// What embedding and head become where the other matrices become `type`: Q8_0 where those have fewer bits
// (docs/experiments.md says what it buys).
WeightType embedding_type_of(const WeightType& type);

struct GroupGrid {
  float scale = 0, minimum = 0;

  float value(int code) const { return static_cast<float>(code) * scale + minimum; }
};

// The nearest code; 0 (or the nearest to it) where the scale is 0.
int nearest_code(const WeightType& type, const GroupGrid& grid, float x);

// The grid with the smallest Σ weight·(x − rounded x)² among those tried: the range between the extremes, shrunk step
// by step, each followed by a least-squares fit of scale and minimum to its codes. x, weights: [kGroup], weights >= 0.
// Never worse than the range itself, which is what rounding to nearest takes. Not finite where a half cannot hold it.
GroupGrid least_error_grid(const WeightType& type, const float* x, const float* weights);

// One group as the type's block (has_grid()).
void pack_group(const WeightType& type, const GroupGrid& grid, const int8_t* codes, uint8_t* raw);

}  // namespace candor::engine
