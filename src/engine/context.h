// What every engine function is given beside its operands.
#pragma once

#include "base/thread_pool.h"
#include "engine/kernels/kernels.h"
#include "engine/memory.h"

namespace candor::engine {

// What every engine function works with. Nothing here changes results.
struct Context {
  const Kernels& kernels;
  ThreadPool& pool;
  MemoryLedger& ledger;
};

}  // namespace candor::engine
