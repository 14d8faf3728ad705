#include "cli/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cli/terminal.h"

namespace candor::cli {

namespace {

using engine::BufferKind;
using files::Json;

template <typename Act>
void each_kind(Act act) {
  for (int i = 0; i < engine::kBufferKinds; ++i) act(static_cast<BufferKind>(i));
}

Json by_role(const engine::PlannedPhase& phase) {
  Json roles = Json::object();
  each_kind([&](BufferKind kind) { roles[std::string(engine::kind_name(kind))] = phase.bytes(kind); });
  return roles;
}

std::string limit_text(const MemoryLimit& limit) {
  return limit.bytes == std::numeric_limits<int64_t>::max()
             ? "no limit is known"
             : fmt::format("{} ({})", bytes_text(std::max<int64_t>(0, limit.bytes)), limit.source);
}

}  // namespace

HeldMeter::HeldMeter() {
  mark("program", "code and libraries");
}

void HeldMeter::mark(const std::string& role, const std::string& name) {
  const int64_t now = anonymous_bytes();
  held_.push_back({role, name, std::max<int64_t>(0, now - last_)});
  last_ = std::max(now, last_);
}

Result<MemoryLimit> limit_of(const std::string& max_memory) {
  if (max_memory == "auto") return memory_limit();
  const int64_t bytes = TRY(parse_bytes(max_memory));
  return MemoryLimit{bytes, "max_memory"};
}

Error refusal(std::string_view verb, const engine::MemoryPlan& plan, const MemoryLimit& limit,
              const std::vector<recipes::Change>& changes) {
  const engine::PlannedPhase& peak = plan.peak();
  std::vector<std::pair<int64_t, std::string_view>> kinds;
  each_kind([&](BufferKind kind) { kinds.emplace_back(peak.bytes(kind), engine::kind_name(kind)); });
  std::stable_sort(kinds.begin(), kinds.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string advice;
  for (const recipes::Change& change : changes)
    advice += fmt::format("\n  {}  # {} at the peak", change.flags, bytes_text(change.peak_bytes));
  return error("[{}] this run needs {} of memory at its peak ({}: {} {}, {} {}, {} {}), and there is {}. {}{}", verb,
               bytes_text(peak.bytes()), peak.name, kinds[0].second, bytes_text(kinds[0].first), kinds[1].second,
               bytes_text(kinds[1].first), kinds[2].second, bytes_text(kinds[2].first), limit_text(limit),
               changes.empty() ? "No change of the recipe makes it fit: take a smaller model or a larger machine."
                               : "With any one of these lines added to the command it fits:",
               advice);
}

std::string passes_text(const recipes::TrainingConfig& config) {
  return fmt::format("passes of {} tokens{}", recipes::micro_batch_tokens(config),
                     config.gradient_checkpointing == "true" ? ", each layer computed once more on the way back" : "");
}

std::string plan_line(const engine::MemoryPlan& plan, const MemoryLimit& limit, const recipes::TrainingConfig& config) {
  const engine::PlannedPhase& peak = plan.peak();
  return fmt::format("memory: {} planned at the peak ({}), of {}; {}", bytes_text(peak.bytes()), peak.name,
                     limit_text(limit), passes_text(config));
}

Json plan_json(const engine::MemoryPlan& plan, const MemoryLimit& limit) {
  Json buffers = Json::array(), phases = Json::array();
  for (const engine::PlannedBuffer& buffer : plan.peak().buffers)
    buffers.push_back({{"role", engine::kind_name(buffer.kind)},
                       {"owner", buffer.owner},
                       {"name", buffer.name},
                       {"bytes", buffer.bytes}});
  for (const engine::PlannedPhase& phase : plan.phases)
    phases.push_back({{"phase", phase.name}, {"bytes", phase.bytes()}, {"roles", by_role(phase)}});
  return {{"peak_bytes", plan.peak_bytes()},
          {"peak_phase", plan.peak().name},
          {"limit_bytes", limit.bytes},
          {"limit", limit.source},
          {"fits", plan.peak_bytes() <= limit.bytes},
          {"roles", by_role(plan.peak())},
          {"buffers", buffers},
          {"phases", phases}};
}

Json changes_json(const std::vector<recipes::Change>& changes) {
  Json list = Json::array();
  for (const recipes::Change& change : changes)
    list.push_back({{"flags", change.flags}, {"peak_bytes", change.peak_bytes}});
  return list;
}

void print_plan(const engine::MemoryPlan& plan, const MemoryLimit& limit) {
  const engine::PlannedPhase& peak = plan.peak();
  fmt::print("\n  {:<12}{:<14}{:<44}{:>12}\n", "role", "of", "buffer", "bytes");
  each_kind([&](BufferKind kind) {
    for (const engine::PlannedBuffer& buffer : peak.buffers)
      if (buffer.kind == kind)
        fmt::print("  {:<12}{:<14}{:<44}{:>12}\n", engine::kind_name(kind), buffer.owner, printable(buffer.name),
                   bytes_text(buffer.bytes));
  });
  fmt::print("\n  {:<20}{:>12}", "phase", "at its peak");
  each_kind([&](BufferKind kind) {
    if (peak.bytes(kind) > 0) fmt::print("{:>12}", engine::kind_name(kind));
  });
  fmt::print("\n");
  for (const engine::PlannedPhase& phase : plan.phases) {
    fmt::print("  {:<20}{:>12}", phase.name, bytes_text(phase.bytes()));
    each_kind([&](BufferKind kind) {
      if (peak.bytes(kind) > 0) fmt::print(" {:>11}", phase.bytes(kind) > 0 ? bytes_text(phase.bytes(kind)) : "-");
    });
    fmt::print("\n");
  }
  fmt::print("\n  peak {} ({}), of {}: {}\n", bytes_text(peak.bytes()), peak.name, limit_text(limit),
             peak.bytes() <= limit.bytes ? "fits" : "does not fit");
}

void add_plan(Json& summary, const engine::MemoryPlan& plan, const MemoryLimit& limit,
              const recipes::TrainingConfig& config) {
  summary["planned_bytes"] = plan.peak_bytes();
  summary["memory"] = {{"peak_phase", plan.peak().name},
                       {"limit_bytes", limit.bytes},
                       {"limit", limit.source},
                       {"micro_batch_tokens", recipes::micro_batch_tokens(config)},
                       {"gradient_checkpointing", config.gradient_checkpointing},
                       {"roles", by_role(plan.peak())}};
}

}  // namespace candor::cli
