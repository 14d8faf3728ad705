// What a memory plan needs to know of a model: its shapes, also of families that cannot be run yet but whose matrices
// are those of a Llama.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "files/model_config.h"

namespace candor::files {

struct ModelShapes {
  ModelConfig config;
  std::string weight_type = "F32";  // "BF16" where config.json says so
  std::string note;                 // where the family is another one: what it was taken for; else empty
};

// From a bare config.json. Error: as config_from_json; a family whose shapes are not those of a Llama (a mixture of
// experts, say), by its name.
Result<ModelShapes> read_model_shapes(const std::filesystem::path& config_json);

}  // namespace candor::files
