#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace candor {

void check_failed(const char* condition, std::source_location where) {
  std::fprintf(stderr, "%s:%u: %s: CHECK(%s) failed: this is a bug in candor\n", where.file_name(), where.line(),
               where.function_name(), condition);
  std::abort();
}

}  // namespace candor
