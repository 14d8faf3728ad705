// The arithmetic of a model's base (docs/adr/0007). bfloat16 means, at every kernel level: weights in bfloat16,
// activations rounded to it at the input of every base linear layer, the head included, and dy at the input of its
// dx product; keys and values stored in it, rounded once. Everything else is float32: sums, norms, biases, adapters
// (which see x and dy unrounded), gradients, optimizer. The gradient passes through a rounding as if it were not there.
#pragma once

#include <string_view>

#include "base/result.h"
#include "files/model_files.h"

namespace candor::engine {

enum class Dtype { kFloat32, kBfloat16 };

// "float32", "bfloat16".
std::string_view dtype_name(Dtype dtype);

// What --dtype says: float32 (fp32), bfloat16 (bf16), or nothing for what the files hold: bfloat16 where every matrix
// is stored as BF16, otherwise float32 (float16 and quantized blocks are widened to it). Error: another name; int8 and
// int4 do not exist yet.
Result<Dtype> choose_dtype(std::string_view wanted, const files::ModelFiles& files);

}  // namespace candor::engine
