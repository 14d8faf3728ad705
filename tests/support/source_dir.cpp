#include "support/source_dir.h"

namespace candor::testing {

std::filesystem::path source_dir() {
  return CANDOR_SOURCE_DIR;
}

}  // namespace candor::testing
