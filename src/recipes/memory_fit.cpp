#include "recipes/memory_fit.h"

#include <algorithm>
#include <string_view>
#include <type_traits>

#include "engine/sampling_options.h"
#include "recipes/distill_config.h"

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

// In the order of their cost. What fit_into() chooses by itself is no advice.
template <typename Config>
std::vector<Way<Config>> ways() {
  std::vector<Way<Config>> all;
  all.push_back({[](Config& c) {
    return c.micro_batch_tokens == 0 ? "" : halve("micro_batch_tokens", c.micro_batch_tokens, kFewestTokens);
  }});
  all.push_back({[](Config& c) -> std::string {
    if (c.gradient_checkpointing != "false") return "";
    c.gradient_checkpointing = "true";
    return "--gradient_checkpointing true";
  }});
  if constexpr (std::is_base_of_v<RolloutConfig, Config>)
    all.push_back({[](Config& c) {
      if (c.generation_rows == 0) c.generation_rows = engine::SamplingOptions().max_rows;
      return halve("generation_rows", c.generation_rows, c.num_generations);
    }});
  all.push_back({[](Config& c) { return halve("gradient_shards", c.gradient_shards, 1); }});
  all.push_back({[](Config& c) -> std::string {
    if (c.dtype == "int4" || c.load_in_8bit || c.load_in_4bit) return "";
    c.dtype = c.dtype == "int8" || c.dtype == "blocks" ? "int4" : c.dtype == "bfloat16" ? "int8" : "bfloat16";
    return fmt::format("--dtype {}", c.dtype);
  }});
  all.push_back({[](Config& c) {
    const bool saved = !c.lora_modules_to_save.empty();
    c.lora_modules_to_save.clear();
    return saved ? std::string("--lora_modules_to_save none") : std::string();
  }});
  all.push_back({[](Config& c) { return c.use_peft ? halve("lora_r", c.lora_r, 1) : std::string(); }});
  if constexpr (std::is_base_of_v<RolloutConfig, Config>) {
    const auto in_pairs = [](const Config& c) {
      if constexpr (std::is_same_v<Config, GrpoConfig>) return c.compares_pairs();
      return false;
    };
    // The rows of a group train together. As many completions as before, in more groups.
    all.push_back({[in_pairs](Config& c) {
      const bool free = c.num_generations % 2 == 0 && !in_pairs(c);
      return free ? halve("num_generations", c.num_generations, 2) : std::string();
    }});
    all.push_back({[in_pairs](Config& c) {
      return halve(in_pairs(c) ? "max_new_tokens" : "max_completion_length", c.max_completion_length, kShortest);
    }});
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

// What fit_into() chooses from, the fastest first.
template <typename Config>
std::vector<Config> choices(const Config& config) {
  std::vector<Config> all;
  const bool open = config.gradient_checkpointing == "auto";
  for (const std::string& checkpointing : {config.gradient_checkpointing, std::string("true")}) {
    if (!all.empty() && !open) break;
    Config choice = config;
    choice.gradient_checkpointing = checkpointing;
    if (config.micro_batch_tokens == 0) choice.micro_batch_tokens = kMicroBatchTokens;
    all.push_back(choice);
    while (config.micro_batch_tokens == 0 && !halve("", choice.micro_batch_tokens, kFewestTokens).empty())
      all.push_back(choice);
  }
  return all;
}

}  // namespace

template <typename Config>
Result<Fitted<Config>> fit_into(const Config& config, const PlanOf<Config>& plan_of, int64_t limit) {
  const std::vector<Config> all = choices(config);
  Fitted<Config> first {
    all.front(), TRY(plan_of(all.front()))
  };
  if (first.plan.peak_bytes() <= limit || all.size() == 1) return first;
  Fitted<Config> least {
    all.back(), TRY(plan_of(all.back()))
  };
  if (least.plan.peak_bytes() > limit) return least;
  for (size_t i = 1; i + 1 < all.size(); ++i) {
    Fitted<Config> between {
      all[i], TRY(plan_of(all[i]))
    };
    if (between.plan.peak_bytes() <= limit) return between;
  }
  return least;
}

template <typename Config>
std::vector<Change> cheapest_changes(const Config& config, const PlanOf<Config>& plan_of, int64_t limit) {
  std::vector<Change> changes;
  const auto peak_of = [&](const Config& changed) -> std::optional<int64_t> {
    const auto fitted = fit_into(changed, plan_of, limit);
    return fitted ? std::optional(fitted->plan.peak_bytes()) : std::nullopt;
  };
  const std::vector<Way<Config>> all = ways<Config>();
  Config least = config;
  for (const Way<Config>& way : all)
    while (!way.further(least).empty()) continue;
  if (const std::optional<int64_t> peak = peak_of(least); peak && *peak > limit) return {};
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

template Result<Fitted<SftConfig>> fit_into(const SftConfig&, const PlanOf<SftConfig>&, int64_t);
template Result<Fitted<PreferenceConfig>> fit_into(const PreferenceConfig&, const PlanOf<PreferenceConfig>&, int64_t);
template Result<Fitted<GrpoConfig>> fit_into(const GrpoConfig&, const PlanOf<GrpoConfig>&, int64_t);
template Result<Fitted<DistillConfig>> fit_into(const DistillConfig&, const PlanOf<DistillConfig>&, int64_t);
template Result<Fitted<PpoConfig>> fit_into(const PpoConfig&, const PlanOf<PpoConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const SftConfig&, const PlanOf<SftConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const PreferenceConfig&, const PlanOf<PreferenceConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const GrpoConfig&, const PlanOf<GrpoConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const DistillConfig&, const PlanOf<DistillConfig>&, int64_t);
template std::vector<Change> cheapest_changes(const PpoConfig&, const PlanOf<PpoConfig>&, int64_t);

}  // namespace candor::recipes
