// TRL's keys (1.16, with the Transformers 5 arguments that it inherits) in three lists, so that a recipe written for
// TRL either means the same here or stops with a reason:
//   supported            the field lists have them (*_fields.cpp); named here so that a test can hold both together
//   without meaning      speed, logging and hardware of another stack: a note says so, the run goes on
//   refused              would change results and is not supported; accepted only at the value that switches it off
// Each recipe has its own lists: what all of TRL's trainers take, and what its own trainer adds.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace candor::recipes {

enum class TrlHandling { kSupported, kWithoutMeaning, kRefused };

struct TrlKey {
  std::string_view key;
  TrlHandling handling;
  std::string_view note;                     // without meaning: why; refused: what it would do
  std::vector<std::string_view> inert = {};  // refused: the values that change nothing
};

inline constexpr std::string_view kTrlRecipes[] = {"grpo", "rloo", "online_dpo", "xpo",    "nash_md", "sft",     "dpo",
                                                   "cpo",  "orpo", "kto",        "reward", "prm",     "distill", "ppo"};

// The lists of one of kTrlRecipes.
const std::vector<TrlKey>& trl_keys(std::string_view recipe);

// What the configs of the recipes on preferences (dpo, cpo, orpo, kto, reward, prm) add to the keys of every trainer.
void add_preference_keys(std::string_view recipe, std::vector<TrlKey>& keys);
// What the configs of distillation add to the keys of every trainer.
void add_distill_keys(std::vector<TrlKey>& keys);

// Null where TRL has no such key for this recipe, or has no such recipe. dataloader_*, vllm_*, hub_*, fsdp* and others
// of a family count as one entry "dataloader_*".
const TrlKey* find_trl_key(std::string_view recipe, std::string_view key);

// The recipes, other than this one, that know the key.
std::vector<std::string_view> other_recipes_with(std::string_view recipe, std::string_view key);

bool is_inert(const TrlKey& known, std::string_view value);  // compared as number where both are

}  // namespace candor::recipes
