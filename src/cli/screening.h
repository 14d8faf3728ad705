// A recipe's rewards asked about completions that say nothing (rewards/screening.h): by `candor guard screen`, and once
// before a run trains.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "cli/session.h"
#include "data/prompts.h"
#include "files/json_file.h"
#include "recipes/rollout_config.h"
#include "rewards/screening.h"

namespace candor::cli {

// Asks the recipe's rewards about every master key behind the first `prompts` prompts. Completions are cut to
// max_completion_length, and a reward model sees no more of a prompt at once than in a step of the recipe, so the
// memory plan holds. `rewards` are the recipe's, in its order. Error: a reward fails.
Result<rewards::Screening> screen_recipe(const recipes::RolloutConfig& config, std::span<const rewards::Reward> rewards,
                                         const data::PromptSet& set, size_t prompts, const Session& session);

// {"rewards": [{reward, judged, threshold, highest, scored, accepted}], "accepted": [{reward, key, prompt, score}]}
files::Json screening_json(const rewards::Screening& screening);

// Before a run's first step, as screen_rewards says: what is found goes into screening.json in its folder, and what a
// reward accepts is said. Where the run goes on after a checkpoint nothing is asked again. Null: it was not screened.
// Error: screen_rewards is stop, and a reward accepts a key or fails.
Result<files::Json> screen_before_run(std::string_view verb, const recipes::RolloutConfig& config,
                                      std::span<const rewards::Reward> rewards, const data::PromptSet& set,
                                      const Session& session, const std::function<void(const std::string&)>& say);

}  // namespace candor::cli
