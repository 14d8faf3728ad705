#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace candor {

void check_failed(const char* condition, const char* file, int line, const char* function) {
  std::fprintf(stderr, "%s:%d: %s: CHECK(%s) failed: this is a bug in candor\n", file, line, function, condition);
  std::abort();
}

}  // namespace candor
