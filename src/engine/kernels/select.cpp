// Which levels this processor has. The checks cover the operating system too: a processor with AVX whose kernel does
// not save the wide registers must count as one without.
#include <array>

#include "engine/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace candor::engine {

namespace {

#if defined(__x86_64__)
// The register state that the operating system saves: bits of XCR0. 0 where it saves none of the wide ones.
unsigned saved_state() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
#endif

}  // namespace

bool processor_has_avx2() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kNeeded = bit_FMA | bit_AVX | bit_F16C;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kNeeded) != kNeeded) return false;
  constexpr unsigned kSseAndAvxState = 0x06;
  if ((saved_state() & kSseAndAvxState) != kSseAndAvxState) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
#else
  return false;
#endif
}

bool processor_has_avx512() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAvx512State = 0xE6;  // SSE, AVX, masks, the upper halves and the sixteen more registers
  if (!processor_has_avx2() || (saved_state() & kAvx512State) != kAvx512State) return false;
  constexpr unsigned kNeeded = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & kNeeded) == kNeeded;
#else
  return false;
#endif
}

bool processor_has_avx512_bf16() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return processor_has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVX512BF16);
#else
  return false;
#endif
}

bool processor_has_avx512_vnni() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return processor_has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_AVX512VNNI);
#else
  return false;
#endif
}

Result<const Kernels*> select_kernels(std::string_view wanted) {
  const std::array<const Kernels*, 4> levels = {avx512_bf16_kernels(), avx512_kernels(), avx2_kernels(),
                                                &plain_kernels()};  // best first
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
