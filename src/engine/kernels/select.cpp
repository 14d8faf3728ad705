// Which levels this processor has. The checks cover the operating system too: a processor with AVX whose kernel does
// not save the wide registers must count as one without.
#include <array>

#include "engine/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace candor::engine {

bool processor_has_avx2() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  constexpr unsigned kNeeded = bit_FMA | bit_OSXSAVE | bit_AVX | bit_F16C;
  if ((c & kNeeded) != kNeeded) return false;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr unsigned kSseAndAvxState = 6;
  if ((low & kSseAndAvxState) != kSseAndAvxState) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
#else
  return false;
#endif
}

Result<const Kernels*> select_kernels(std::string_view wanted) {
  const std::array<const Kernels*, 2> levels = {avx2_kernels(), &plain_kernels()};  // best first
  std::string present;
  for (const Kernels* level : levels) {
    if (!level) continue;
    if (wanted.empty() || wanted == level->name) return level;
    present += present.empty() ? level->name : std::string(", ") + level->name;
  }
  return error(
      "[kernels] CANDOR_CPU asks for \"{}\", which this processor or this build does not have. Levels here: {}. "
      "Choose one of them, or leave CANDOR_CPU empty for the best.",
      wanted, present);
}

}  // namespace candor::engine
