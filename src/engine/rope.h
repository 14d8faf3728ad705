// Rotary position embedding: the angles of each position, in double, rounded once to float32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "files/model_config.h"

namespace candor::engine {

struct Rope {
  std::vector<double> frequencies;  // [rotated_pairs()], radians per position
  double factor = 1.0;              // multiplies cos and sin (yarn)
};

// Pairs of dimensions of a head that are turned: half of them, or none where positions are learned.
inline int64_t rotated_pairs(const files::ModelConfig& config) {
  return config.rope.type == files::RopeType::kNone ? 0 : config.head_dim / 2;
}

// Frequencies of a model: theta^(-2i/d), changed as rope.type says (Transformers' modeling_rope_utils: linear, llama3,
// yarn after arXiv 2309.00071), and divided by a GGUF file's rope_freqs.
Rope make_rope(const files::ModelConfig& config);

// cosine, sine: [rotated_pairs()] of one position.
void rope_angles(const Rope& rope, int64_t position, float* cosine, float* sine);

}  // namespace candor::engine
