// What inspect says of models and weight files.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::cli {

// `facts` as inspect_path begins it; the answer is it with what was found.
Result<files::Json> gguf_facts(const std::filesystem::path& path, files::Json facts);
Result<files::Json> safetensors_facts(const std::filesystem::path& path, files::Json facts);
Result<files::Json> directory_facts(const std::filesystem::path& path, files::Json facts);

// Adds "weights" (tensors, parameters and bytes by type) and "parameters" of the .safetensors files in a folder whose
// names begin with `prefix`.
Result<void> add_folder_weights(const std::filesystem::path& path, std::string_view prefix, files::Json& facts);

}  // namespace candor::cli
