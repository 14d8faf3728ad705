// adapter_config.json, read and written (peft_adapter.h has the rules).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "files/json_file.h"
#include "files/peft_adapter.h"

namespace candor::files {

Result<LoraConfig> lora_config_from_json(const Json& json, const std::string& name);

// `modules`: the paths that are adapted, which all-linear stands for.
std::string lora_config_to_json(const LoraConfig& config, const std::vector<std::string>& modules);

}  // namespace candor::files
