// candor plan roles MODEL: what PPO's four models keep from step to step, on one base and on four.
#pragma once

#include "cli/verbs.h"

namespace candor::cli {

// Prints the table; the exit code.
int plan_roles(const Words& words);

}  // namespace candor::cli
