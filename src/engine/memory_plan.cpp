#include "engine/memory_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "base/check.h"
#include "files/weight_names.h"

namespace candor::engine {

namespace {

// "model.layers.3.mlp.up_proj.weight" -> "layers: mlp.up_proj.weight".
std::string layers_together(const std::string& name) {
  const std::string_view in_layer = files::name_in_layer(name);
  return in_layer.empty() ? name : fmt::format("layers: {}", in_layer);
}

// The ledger's roles that are kinds by themselves; every other role owns buffers of several kinds, told by their names.
// A role with a ledger inside another's has those roles before its names ("reward", "adapter parameters").
PlannedBuffer described(const std::string& role, const std::string& name) {
  static const std::map<std::string_view, BufferKind> kRoles = {
      {"weights", BufferKind::kWeights},     {"adapter", BufferKind::kAdapters}, {"gradients", BufferKind::kGradients},
      {"optimizer", BufferKind::kOptimizer}, {"head", BufferKind::kHead},        {"scalar head", BufferKind::kHead},
      {"data", BufferKind::kData},           {"program", BufferKind::kProgram}};
  static const std::map<std::string_view, BufferKind> kNames = {{"activations", BufferKind::kActivations},
                                                                {"hidden states", BufferKind::kActivations},
                                                                {"d hidden states", BufferKind::kActivations},
                                                                {"kv pages", BufferKind::kKvCache},
                                                                {"kv gradients", BufferKind::kKvCache},
                                                                {"last hidden", BufferKind::kHead},
                                                                {"logits", BufferKind::kHead}};
  if (const auto kind = kRoles.find(role); kind != kRoles.end()) return {kind->second, "", layers_together(name)};
  if (const auto kind = kNames.find(name); kind != kNames.end()) return {kind->second, role, name};
  for (const auto& [first, kind] : kRoles)
    if (name.starts_with(fmt::format("{} ", first)))
      return {kind, role, layers_together(name.substr(first.size() + 1))};
  const std::string rest = name.substr(name.find(' ') + 1);
  if (const auto kind = kNames.find(rest); kind != kNames.end()) return {kind->second, role, rest};
  return {BufferKind::kWorkspace, role, name};
}

}  // namespace

std::string_view kind_name(BufferKind kind) {
  constexpr std::string_view kNames[kBufferKinds] = {"weights",  "adapters", "gradients", "optimizer", "activations",
                                                     "kv cache", "head",     "workspace", "data",      "program"};
  return kNames[static_cast<int>(kind)];
}

int64_t PlannedPhase::bytes() const {
  int64_t sum = 0;
  for (const PlannedBuffer& buffer : buffers) sum += buffer.bytes;
  return sum;
}

int64_t PlannedPhase::bytes(BufferKind kind) const {
  int64_t sum = 0;
  for (const PlannedBuffer& buffer : buffers)
    if (buffer.kind == kind) sum += buffer.bytes;
  return sum;
}

const PlannedPhase& MemoryPlan::peak() const {
  CHECK(!phases.empty());
  return *std::max_element(phases.begin(), phases.end(),
                           [](const PlannedPhase& a, const PlannedPhase& b) { return a.bytes() < b.bytes(); });
}

Planner::Planner(const Kernels& kernels, ThreadPool& pool)
    : ledger_(MemoryLedger::Kind::kPlanned), context_{kernels, pool, ledger_} {}

void Planner::hold(const std::string& role, const std::string& name, int64_t bytes) {
  held_.push_back(std::make_unique<CountedBytes>(ledger_, role, name, bytes));
}

void Planner::phase(const std::string& name, const std::function<void()>& act) {
  ledger_.begin_phase();
  act();
  plan_.phases.push_back({name, planned_buffers(ledger_.phase_entries())});
}

MemoryPlan Planner::take() {
  plan_.buffers = planned_buffers(ledger_.entries(), true);
  return std::move(plan_);
}

std::vector<PlannedBuffer> planned_buffers(const std::vector<MemoryLedger::Entry>& entries, bool at_peak) {
  std::map<std::tuple<BufferKind, std::string, std::string>, int64_t> together;
  for (const MemoryLedger::Entry& entry : entries) {
    const PlannedBuffer buffer = described(entry.role, entry.name);
    together[{buffer.kind, buffer.owner, buffer.name}] += at_peak ? entry.peak_bytes : entry.bytes;
  }
  std::vector<PlannedBuffer> buffers;
  for (const auto& [key, bytes] : together)
    buffers.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), bytes});
  std::stable_sort(buffers.begin(), buffers.end(), [](const PlannedBuffer& a, const PlannedBuffer& b) {
    return a.kind != b.kind ? a.kind < b.kind : a.bytes > b.bytes;
  });
  return buffers;
}

}  // namespace candor::engine
