// What every ModelConfig of a family has, and what each must satisfy, wherever it was read from.
#pragma once

#include <string>

#include "base/result.h"
#include "files/model_config.h"

namespace candor::files {

// What GPT-2 has and a Llama has not, in config.json and GGUF alike.
void set_gpt2_kind(ModelConfig& config);

// Error: a size outside what any model has (so that no product of sizes can overflow), heads that do not divide, a
// rope factor or base that is no positive number.
Result<void> check_config(const ModelConfig& config, const std::string& name);

}  // namespace candor::files
