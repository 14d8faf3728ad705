#include "engine/dtype.h"

#include <algorithm>

namespace candor::engine {

std::string_view dtype_name(Dtype dtype) {
  return dtype == Dtype::kFloat32 ? "float32" : "bfloat16";
}

Result<Dtype> choose_dtype(std::string_view wanted, const files::ModelFiles& files) {
  if (wanted.empty()) {
    const auto& weights = files.weights->weights();
    const bool bf16 = std::all_of(weights.begin(), weights.end(), [](const files::WeightInfo& weight) {
      return weight.shape.size() < 2 || weight.type == "BF16";
    });
    return bf16 ? Dtype::kBfloat16 : Dtype::kFloat32;
  }
  if (wanted == "float32" || wanted == "fp32") return Dtype::kFloat32;
  if (wanted == "bfloat16" || wanted == "bf16") return Dtype::kBfloat16;
  if (wanted == "int8" || wanted == "int4")
    return error("[dtype] {} arithmetic does not exist yet: float32 and bfloat16 do. Choose one of them.", wanted);
  return error(
      "[dtype] \"{}\" is unknown. Choose float32 or bfloat16, or leave it out to take what the model's file "
      "holds.",
      wanted);
}

}  // namespace candor::engine
