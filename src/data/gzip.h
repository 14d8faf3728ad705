// Unpacking gzip, with a bound on what a small file may grow to.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace candor::data {

bool is_gzip(std::string_view bytes);  // by its first two bytes

// All members, one after another. Errors: damaged or cut off; more than 200 times its size plus 64 MiB.
Result<std::string> gunzip(std::string_view bytes);

}  // namespace candor::data
