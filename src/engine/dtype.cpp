#include "engine/dtype.h"

#include "engine/quantized_blocks.h"

namespace candor::engine {

namespace {

std::string_view name_of(WeightKind weights) {
  switch (weights) {
    case WeightKind::kFloat32:
      return "float32";
    case WeightKind::kBfloat16:
      return "bfloat16";
    case WeightKind::kInt8:
      return "int8";
    case WeightKind::kInt4:
      return "int4";
    case WeightKind::kBlocks:
      break;
  }
  return "blocks";
}

WeightKind held_by(const files::WeightReader& weights) {
  bool all_bf16 = true;
  for (const files::WeightInfo& weight : weights.weights()) {
    if (weight.shape.size() < 2) continue;
    const files::GgufBlockType* type = weights.block_type(weight.name);
    if (type != nullptr && block_format(*type)) return WeightKind::kBlocks;
    all_bf16 = all_bf16 && weight.type == "BF16";
  }
  return all_bf16 ? WeightKind::kBfloat16 : WeightKind::kFloat32;
}

Result<WeightKind> choose_weights(std::string_view wanted, const files::ModelFiles& files) {
  if (wanted.empty() || wanted == "auto") return held_by(*files.weights);
  if (wanted == "float32" || wanted == "fp32") return WeightKind::kFloat32;
  if (wanted == "bfloat16" || wanted == "bf16") return WeightKind::kBfloat16;
  for (const WeightKind kind : {WeightKind::kInt8, WeightKind::kInt4, WeightKind::kBlocks})
    if (wanted == name_of(kind)) return kind;
  return error(
      "[dtype] \"{}\" is unknown. Choose float32, bfloat16, int8, int4 or blocks (a GGUF file's quantized blocks as "
      "they "
      "are), or leave it out to take what the model's file holds.",
      wanted);
}

}  // namespace

std::string dtype_name(Dtype dtype) {
  const std::string name(name_of(dtype.weights));
  if (!dtype.quantized() || dtype.activations == Arithmetic::kInt8) return name;
  return fmt::format("{} with {} activations", name,
                     dtype.activations == Arithmetic::kFloat32 ? "float32" : "bfloat16");
}

Result<Dtype> choose_dtype(std::string_view wanted, std::string_view activations, const files::ModelFiles& files,
                           const Kernels& kernels) {
  const WeightKind weights = TRY(choose_weights(wanted, files));
  const bool fast = std::string_view(kernels.name) != plain_kernels().name;
  Arithmetic arithmetic = fast ? Arithmetic::kInt8 : Arithmetic::kBfloat16;
  if (activations == "int8")
    arithmetic = Arithmetic::kInt8;
  else if (activations == "bfloat16" || activations == "bf16")
    arithmetic = Arithmetic::kBfloat16;
  else if (activations == "float32" || activations == "fp32")
    arithmetic = Arithmetic::kFloat32;
  else if (!activations.empty() && activations != "auto")
    return error("[quantized_activations] \"{}\" is unknown. Choose auto, int8, bfloat16 or float32.", activations);
  if (weights == WeightKind::kFloat32) return Dtype::kFloat32;
  if (weights == WeightKind::kBfloat16) return Dtype::kBfloat16;
  return Dtype{weights, arithmetic};
}

}  // namespace candor::engine
