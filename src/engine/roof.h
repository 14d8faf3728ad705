// What this machine can do at best, measured now: every speed that Candor reports is given as a fraction of it, since
// machines differ and neighbours come and go.
#pragma once

#include "base/thread_pool.h"
#include "engine/kernels/kernels.h"

namespace candor::engine {

struct Roof {
  double float32_gflops = 0;  // multiply-adds in registers (2 operations each), all threads, in 10^9 a second
  double bf16_gflops = 0;     // the same in bfloat16; float32's where the processor has to widen first
  double int8_gops = 0;       // the same of bytes that are added up as integers
  double int4_gops = 0;       // and where the weights' codes have 4 bits
  double dram_read_gbs = 0;   // reading memory far larger than the caches, all threads, in 10^9 bytes a second
};

// Takes about two seconds and, for as long, 256 MB. Each figure is the best of several short trials.
Roof measure_roof(ThreadPool& pool, const Kernels& kernels);

}  // namespace candor::engine
