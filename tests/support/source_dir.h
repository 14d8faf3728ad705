// The checkout that the tests were built from. Only source_dir.cpp knows the path, so that every other object is the
// same in every checkout and a compiler cache serves them all.
#pragma once

#include <filesystem>

namespace candor::testing {

std::filesystem::path source_dir();

}  // namespace candor::testing
