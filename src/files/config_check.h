// What every ModelConfig must satisfy, wherever it was read from.
#pragma once

#include <string>

#include "base/result.h"
#include "files/model_config.h"

namespace candor::files {

// Error: a size outside what any model has (so that no product of sizes can overflow), heads that do not divide, a
// rope factor or base that is no positive number.
Result<void> check_config(const ModelConfig& config, const std::string& name);

}  // namespace candor::files
