// Where tests find what other people's software computed: `shared/golden` and `shared/data` beside the checkout (or
// below $CANDOR_SHARED), and the default model in the model cache. A test that needs one of them skips, saying so,
// where it is absent.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "support/source_dir.h"

namespace candor::testing {

inline std::filesystem::path shared_dir() {
  if (const char* dir = std::getenv("CANDOR_SHARED")) return dir;
  return source_dir() / ".." / "shared";
}

inline std::filesystem::path golden(const std::string& name) {
  return shared_dir() / "golden" / name;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace candor::testing

#define CANDOR_REQUIRE_FILE(path)                                                             \
  do {                                                                                        \
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "oracle absent: " << (path).string(); \
  } while (0)
