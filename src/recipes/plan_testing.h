// For tests: a recipe's plan against the ledger of its run.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/memory_plan.h"

namespace candor::recipes::testing {

// Every buffer, each at its own peak, and the most that was held together, to the byte. What a checkpoint takes, and
// data, lie in no buffer of the engine, so no ledger has them.
inline void expect_ledger(const engine::MemoryPlan& plan, const engine::MemoryLedger& ledger) {
  const auto outside = [](const engine::PlannedBuffer& b) {
    return b.owner == "checkpoint" || b.kind == engine::BufferKind::kData;
  };
  const auto by_name = [&](const std::vector<engine::PlannedBuffer>& buffers) {
    std::map<std::string, int64_t> all;
    for (const engine::PlannedBuffer& b : buffers)
      if (!outside(b)) all[fmt::format("{}/{}/{}", engine::kind_name(b.kind), b.owner, b.name)] = b.bytes;
    return all;
  };
  EXPECT_EQ(by_name(plan.buffers), by_name(engine::planned_buffers(ledger.entries(), true)));
  int64_t peak = 0;
  for (const engine::PlannedPhase& phase : plan.phases) {
    int64_t held = phase.bytes();
    for (const engine::PlannedBuffer& b : phase.buffers)
      if (outside(b)) held -= b.bytes;
    peak = std::max(peak, held);
  }
  EXPECT_EQ(peak, ledger.peak_bytes());
}

}  // namespace candor::recipes::testing
