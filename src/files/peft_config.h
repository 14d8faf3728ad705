// adapter_config.json, read and written (peft_adapter.h has the rules).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/json_file.h"
#include "files/peft_adapter.h"

namespace candor::files {

Result<LoraConfig> lora_config_from_json(const Json& json, const std::string& name);

// `modules`: the paths that are adapted, which all-linear stands for. `task`: PEFT's task_type, after which it chooses
// the model's class.
std::string lora_config_to_json(const LoraConfig& config, const std::vector<std::string>& modules,
                                std::string_view task);

}  // namespace candor::files
