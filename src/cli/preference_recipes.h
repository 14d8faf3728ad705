// The recipes on preferences as verbs: what `candor dpo` and its like, and `candor plan`, need of each.
#pragma once

#include <memory>

#include "cli/preference_work.h"
#include "cli/recipe_command.h"
#include "recipes/config.h"

namespace candor::cli {

template <typename Config>
struct PreferenceRecipe {
  RecipeVerb verb;
  recipes::FieldList (*fields)(Config&);
  Result<void> (*resolve)(Config&, const recipes::Given&);
};

inline constexpr PreferenceRecipe<recipes::DpoConfig> kDpo = {
    {"dpo",
     "Direct preference optimisation and its family on pairs of a chosen and a rejected completion: a LoRA adapter "
     "where an lora_* key is given, else every weight."},
    recipes::dpo_fields,
    recipes::resolve_dpo};
inline constexpr PreferenceRecipe<recipes::CpoConfig> kCpo = {
    {"cpo", "Preference optimisation without a reference: CPO, SimPO (loss_type simpo), AlphaPO (alpha)."},
    recipes::cpo_fields,
    recipes::resolve_cpo};
inline constexpr PreferenceRecipe<recipes::OrpoConfig> kOrpo = {
    {"orpo",
     "Odds ratio preference optimisation: likelihood of the chosen rows and an odds ratio, without a reference."},
    recipes::orpo_fields,
    recipes::resolve_orpo};
inline constexpr PreferenceRecipe<recipes::KtoConfig> kKto = {
    {"kto", "Learns from single completions that are wanted or not: KTO, APO, BCO (loss_type bco). A LoRA adapter."},
    recipes::kto_fields,
    recipes::resolve_kto};
inline constexpr PreferenceRecipe<recipes::RewardConfig> kReward = {
    {"reward",
     "Trains a reward model on pairs: a score head with a LoRA adapter where an lora_* key is given, else with every "
     "weight."},
    recipes::reward_fields,
    recipes::resolve_reward};
inline constexpr PreferenceRecipe<recipes::PrmConfig> kPrm = {
    {"prm", "Trains a process reward model on solutions with labelled steps: an adapter and a head of two labels."},
    recipes::prm_fields,
    recipes::resolve_prm};

}  // namespace candor::cli
