// The arithmetic of a model's base: what its matrices are, and what activations are when they meet one.
//
// bfloat16 (docs/adr/0007) means, at every kernel level: weights in bfloat16, activations rounded to it at the input of
// every base linear layer, the head included, and dy at the input of its dx product; keys and values stored in it,
// rounded once. Everything else is float32: sums, norms, biases, adapters (which see x and dy unrounded), gradients,
// optimizer. The gradient passes through a rounding as if it were not there.
//
// Quantized weights (docs/adr/0009), embedding and head included, meet activations that are int8 (per row and 32
// inputs; all else as in bfloat16), bfloat16 (as above, on the dequantized weights rounded to it) or float32 (the
// dequantized weights in float32 throughout).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "engine/kernels/kernels.h"
#include "files/model_files.h"

namespace candor::engine {

// kBlocks: a file's quantized blocks as they are, its other matrices bfloat16 where they are BF16, otherwise float32.
// kInt8, kInt4: blocks of at most so many bits as they are, other matrices rounded to the blocks that `candor quantize`
// writes for these words (embedding and head to 8 bits in both).
enum class WeightKind { kFloat32, kBfloat16, kInt8, kInt4, kBlocks };

// What activations are at the input of a matrix.
enum class Arithmetic { kFloat32, kBfloat16, kInt8 };

struct Dtype {
  WeightKind weights;
  Arithmetic activations;  // at quantized matrices; those of kFloat32 and kBfloat16 are of their own kind

  static const Dtype kFloat32, kBfloat16;
  bool operator==(const Dtype&) const = default;
  bool quantized() const { return weights != WeightKind::kFloat32 && weights != WeightKind::kBfloat16; }
};
inline constexpr Dtype Dtype::kFloat32{WeightKind::kFloat32, Arithmetic::kFloat32};
inline constexpr Dtype Dtype::kBfloat16{WeightKind::kBfloat16, Arithmetic::kBfloat16};

// What keys and values are.
inline Dtype kv_dtype(Dtype dtype) {
  return dtype.activations == Arithmetic::kFloat32 ? Dtype::kFloat32 : Dtype::kBfloat16;
}

// "float32", "int8", "blocks with bfloat16 activations": part of a run's identity.
std::string dtype_name(Dtype dtype);

// What --dtype says: float32 (fp32), bfloat16 (bf16), int8, int4, blocks, or auto (or nothing) for what the files hold:
// their quantized blocks where they have any, bfloat16 where every matrix is stored as BF16, otherwise float32 (float16
// is widened to it). And what --quantized_activations says: int8, bfloat16, float32, or auto (or nothing) for int8
// where the kernels have fast integer products and bfloat16 elsewhere. Error: another name.
Result<Dtype> choose_dtype(std::string_view wanted, std::string_view activations, const files::ModelFiles& files,
                           const Kernels& kernels);

}  // namespace candor::engine
