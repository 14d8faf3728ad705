// The two ways in which a model's weights lie on disk, behind WeightReader (model_files.h).
#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "files/gguf.h"
#include "files/model_files.h"

namespace candor::files {

// From model.safetensors, or the shards that model.safetensors.index.json lists, in a Hugging Face directory. Error: no
// weight file, a damaged one, a weight that is missing, misshapen, of another type than F32, F16 or BF16, or unknown.
Result<std::unique_ptr<WeightReader>> open_safetensors_weights(const std::filesystem::path& directory,
                                                               const ModelConfig& config);

// From a GGUF file. Error: as above; types are those that gguf_blocks.h dequantizes.
Result<std::unique_ptr<WeightReader>> open_gguf_weights(GgufFile file, const ModelConfig& config);

}  // namespace candor::files
