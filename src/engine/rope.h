// Rotary position embedding: the angles of each position, in double, rounded once to float32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "files/model_config.h"

namespace candor::engine {

struct Rope {
  std::vector<double> frequencies;  // [head_dim/2], radians per position
  double factor = 1.0;              // multiplies cos and sin (yarn)
};

// Frequencies of a model: theta^(-2i/d), changed as rope.type says (Transformers' modeling_rope_utils: linear, llama3,
// yarn after arXiv 2309.00071), and divided by a GGUF file's rope_freqs.
Rope make_rope(const files::ModelConfig& config);

// cosine, sine: [head_dim/2] of one position.
void rope_angles(const Rope& rope, int64_t position, float* cosine, float* sine);

}  // namespace candor::engine
