// A memory plan: every buffer that a run will hold, phase by phase, before anything is loaded.
//
// There is no second set of formulas: a plan runs the allocations of the run itself (models, adapters, passes,
// samplers, gradients, moments) on a ledger that counts them and gives them no memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/context.h"

namespace candor::engine {

// What a buffer is for, in the order in which a plan lists them.
enum class BufferKind {
  kWeights,
  kAdapters,
  kGradients,
  kOptimizer,
  kActivations,
  kKvCache,
  kHead,
  kWorkspace,
  kData,
  kProgram,
};
inline constexpr int kBufferKinds = 10;
std::string_view kind_name(BufferKind kind);  // "weights", …, "kv cache", …

struct PlannedBuffer {
  BufferKind kind = BufferKind::kWorkspace;
  std::string owner;  // whose it is: "policy", "reference", "sampler", …; empty: everybody's
  std::string name;   // "activations"; the layers' weights under one name for all layers
  int64_t bytes = 0;
};

struct PlannedPhase {
  std::string name;                    // "training"
  std::vector<PlannedBuffer> buffers;  // held together at the phase's peak: by kind, then the largest first
  int64_t bytes() const;
  int64_t bytes(BufferKind kind) const;
};

struct MemoryPlan {
  std::vector<PlannedPhase> phases;    // in the order of the run; at least one
  std::vector<PlannedBuffer> buffers;  // all that is ever held, each at its own peak

  const PlannedPhase& peak() const;  // the first of the largest
  int64_t peak_bytes() const { return peak().bytes(); }
};

// Collects a plan. What is made with context() is held from then on, until it is let go.
class Planner {
 public:
  Planner(const Kernels& kernels, ThreadPool& pool);
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  const Context& context() const { return context_; }

  // Counts what lies outside of the engine's buffers until the plan ends. role: as in the ledger ("data", "program").
  void hold(const std::string& role, const std::string& name, int64_t bytes);

  // What is held when `act` begins, and the most that is held while it runs, are the phase.
  void phase(const std::string& name, const std::function<void()>& act);

  MemoryPlan take();

 private:
  MemoryLedger ledger_;
  Context context_;
  std::vector<std::unique_ptr<CountedBytes>> held_;
  MemoryPlan plan_;
};

// The ledger's entries as a plan lists them: what they hold now, or at their peaks.
std::vector<PlannedBuffer> planned_buffers(const std::vector<MemoryLedger::Entry>& entries, bool at_peak = false);

}  // namespace candor::engine
