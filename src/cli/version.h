// CMake's project version (CMakeLists.txt), which `candor --version`, summary.json and checkpoints carry.
#pragma once

#include <string_view>

namespace candor::cli {

constexpr std::string_view kVersion = CANDOR_VERSION;

}  // namespace candor::cli
