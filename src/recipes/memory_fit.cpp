#include "recipes/memory_fit.h"

#include <algorithm>
#include <string_view>
#include <type_traits>

#include "engine/sampling_options.h"

namespace candor::recipes {

namespace {

constexpr size_t kChanges = 3;
constexpr int64_t kFewestTokens = 16;  // a micro-batch below this saves nothing more
constexpr int64_t kShortest = 64;      // a row or completion below this is another task

// One way to need less memory: takes one step further each time it is called, and says the flags; empty at its end.
template <typename Config>
struct Way {
  std::function<std::string(Config&)> further;
};

// Halves a number that stands for more than `least`.
std::string halve(std::string_view key, int64_t& value, int64_t least) {
  if (value <= least) return "";
  value = std::max(least, value / 2);
  return fmt::format("--{} {}", key, value);
}

// In the order of their cost.
template <typename Config>
std::vector<Way<Config>> ways() {
  std::vector<Way<Config>> all;
  all.push_back({[](Config& c) {
    if (c.micro_batch_tokens == 0) c.micro_batch_tokens = kMicroBatchTokens;
    return halve("micro_batch_tokens", c.micro_batch_tokens, kFewestTokens);
  }});
  all.push_back({[](Config& c) -> std::string {
    if (c.gradient_checkpointing == "true") return "";
    c.gradient_checkpointing = "true";
    return "--gradient_checkpointing true";
  }});
  if constexpr (std::is_same_v<Config, GrpoConfig>)
    all.push_back({[](Config& c) {
      if (c.generation_rows == 0) c.generation_rows = engine::SamplingOptions().max_rows;
      return halve("generation_rows", c.generation_rows, c.num_generations);
    }});
  all.push_back({[](Config& c) { return halve("gradient_shards", c.gradient_shards, 1); }});
  all.push_back({[](Config& c) -> std::string {
    if (c.dtype == "int8" || c.dtype == "int4" || c.dtype == "blocks") return "";
    c.dtype = c.dtype == "bfloat16" ? "int8" : "bfloat16";
    return fmt::format("--dtype {}", c.dtype);
  }});
  all.push_back({[](Config& c) {
    const bool saved = !c.lora_modules_to_save.empty();
    c.lora_modules_to_save.clear();
    return saved ? std::string("--lora_modules_to_save none") : std::string();
  }});
  all.push_back({[](Config& c) { return c.use_peft ? halve("lora_r", c.lora_r, 1) : std::string(); }});
  if constexpr (std::is_same_v<Config, GrpoConfig>) {
    all.push_back({[](Config& c) { return halve("max_completion_length", c.max_completion_length, kShortest); }});
  } else {
    all.push_back({[](Config& c) {
      if (!c.max_length) return std::string();
      return halve("max_length", *c.max_length, kShortest);
    }});
    all.push_back({[](Config& c) -> std::string {
      if (c.use_peft) return "";
      c.use_peft = true;
      return "--use_peft true";
    }});
  }
  return all;
}

}  // namespace

template <typename Config>
Result<Fitted<Config>> fit_micro_batch(const Config& config, const PlanOf<Config>& plan_of, int64_t limit) {
  Fitted<Config> first{config, {}};
  if (config.micro_batch_tokens == 0) first.config.micro_batch_tokens = kMicroBatchTokens;
  first.plan = TRY(plan_of(first.config));
  if (config.micro_batch_tokens != 0) return first;
  for (Fitted<Config> smaller = first; smaller.config.micro_batch_tokens >= kFewestTokens;
       smaller.config.micro_batch_tokens /= 2) {
    smaller.plan = TRY(plan_of(smaller.config));
    if (smaller.plan.peak_bytes() <= limit) return smaller;
  }
  return first;
}

template <typename Config>
std::vector<Change> cheapest_changes(const Config& config, const PlanOf<Config>& plan_of, int64_t limit) {
  std::vector<Change> changes;
  const auto peak_of = [&](const Config& changed) -> std::optional<int64_t> {
    const auto plan = plan_of(changed);
    return plan ? std::optional(plan->peak_bytes()) : std::nullopt;
  };
  const std::vector<Way<Config>> all = ways<Config>();
  for (const Way<Config>& way : all) {
    Config changed = config;
    for (std::string flags; changes.size() < kChanges && !(flags = way.further(changed)).empty();) {
      const std::optional<int64_t> peak = peak_of(changed);
      if (!peak) break;
      if (*peak > limit) continue;
      changes.push_back({flags, *peak});
      break;
    }
  }
  if (!changes.empty()) return changes;
  // All of them together, each as far as it goes if it helps, until it fits.
  Config changed = config;
  std::string together;
  std::optional<int64_t> before = peak_of(config);
  for (const Way<Config>& way : all) {
    std::string last;
    for (Config further = changed;;) {
      const std::string flags = way.further(further);
      const std::optional<int64_t> peak = flags.empty() ? std::nullopt : peak_of(further);
      if (!peak || !before || *peak >= *before) break;
      changed = further, before = peak, last = flags;
      if (*peak <= limit) return {Change{fmt::format("{}{}", together, last), *peak}};
    }
    if (!last.empty()) together += fmt::format("{} ", last);
  }
  return {};
}

template Result<Fitted<SftConfig>> fit_micro_batch(const SftConfig&, const PlanOf<SftConfig>&, int64_t);
template Result<Fitted<GrpoConfig>> fit_micro_batch(const GrpoConfig&, const PlanOf<GrpoConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const SftConfig&, const PlanOf<SftConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const GrpoConfig&, const PlanOf<GrpoConfig>&, int64_t);

}  // namespace candor::recipes
