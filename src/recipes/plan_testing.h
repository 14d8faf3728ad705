// For tests: a recipe's plan against the ledger of its run.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/memory_plan.h"

namespace candor::recipes::testing {

// Every buffer, each at its own peak, and the most that was held together, to the byte. What a checkpoint takes lies in
// no buffer of the engine, so no ledger has it.
inline void expect_ledger(const engine::MemoryPlan& plan, const engine::MemoryLedger& ledger) {
  const auto by_name = [](const std::vector<engine::PlannedBuffer>& buffers) {
    std::map<std::string, int64_t> all;
    for (const engine::PlannedBuffer& b : buffers)
      if (b.owner != "checkpoint" && b.name != "completions")
        all[fmt::format("{}/{}/{}", engine::kind_name(b.kind), b.owner, b.name)] = b.bytes;
    return all;
  };
  EXPECT_EQ(by_name(plan.buffers), by_name(engine::planned_buffers(ledger.entries(), true)));
  int64_t peak = 0;
  for (const engine::PlannedPhase& phase : plan.phases) {
    int64_t held = phase.bytes();
    for (const engine::PlannedBuffer& b : phase.buffers)
      if (b.owner == "checkpoint" || b.name == "completions") held -= b.bytes;
    peak = std::max(peak, held);
  }
  EXPECT_EQ(peak, ledger.peak_bytes());
}

}  // namespace candor::recipes::testing
