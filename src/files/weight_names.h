// Which weights a model must have, by name and shape, and what GGUF calls them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "files/model_config.h"

namespace candor::files {

// How GGUF's rows lie: llama.cpp permutes those of q and k for its interleaved rope.
enum class RowOrder { kPlain, kRopePairs };

struct ExpectedWeight {
  std::string name;  // Hugging Face's
  std::string gguf_name;
  std::vector<int64_t> shape;  // outermost first
  RowOrder gguf_rows = RowOrder::kPlain;
};

// In the order of the forward pass.
std::vector<ExpectedWeight> expected_weights(const ModelConfig& config);

// Weights that some directories hold and no computation needs: buffers of old Transformers, a head that is tied anyway.
bool is_ignored_weight(const ModelConfig& config, std::string_view name);

// The row of a permuted GGUF tensor that holds Hugging Face's row `row`: inside each head of `head_dim` rows, GGUF's
// rows 0, 1, 2, 3, … are Hugging Face's 0, d/2, 1, d/2 + 1, …
int64_t rope_pair_row(int64_t row, int64_t head_dim);

// The other way round: Hugging Face's row that lies in row `row` of a permuted tensor.
int64_t rope_half_row(int64_t row, int64_t head_dim);

// The first index of a value that is NaN or infinite; −1 where all are finite.
int64_t first_non_finite(const float* values, int64_t count);

}  // namespace candor::files
