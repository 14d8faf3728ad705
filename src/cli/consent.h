// A recipe that somebody else wrote may name a program to start or an address to send completions and a key to. What
// did not come from the command line is asked about first.
#pragma once

#include "base/result.h"
#include "recipes/config.h"
#include "recipes/rollout_config.h"

namespace candor::cli {

// Whether the rewards leave this program.
bool asks_outside(const recipes::RolloutConfig& config);

// Goes on where `allowed` (--allow_programs), where nothing leaves this program, or where flags named it. Else a
// terminal is asked. Error: it said no, or there is none; names the file and line, and what would be run or called.
Result<void> consent(const recipes::RolloutConfig& config, const recipes::Given& given, bool allowed);

}  // namespace candor::cli
