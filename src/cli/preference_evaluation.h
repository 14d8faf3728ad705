// What training on preferences changed on held-out rows, in numbers with intervals and in words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "files/json_file.h"
#include "recipes/kto.h"
#include "recipes/pair_step.h"
#include "recipes/prm.h"
#include "recipes/reward.h"

namespace candor::cli {

struct PreferenceReport {
  // "ranking" (of pairs) or "steps": {before, after: {correct, total, accuracy, interval}, mcnemar, difference,
  // difference_interval}; "preference": {rows, unit, and before, after, difference, interval (bootstrap over rows, 95%)
  // of chosen, rejected, margin and loss}. Of KTO the chosen are the wanted rows.
  files::Json evaluations;
  std::string verdict;                // one plain sentence
  std::vector<std::string> warnings;  // what a rising margin does not show
  files::Json samples = nullptr;      // of a policy: greedy answers before and after (greedy_answers.h)
};

// Both of one set of pairs. A pair is ranked rightly where its chosen completion is the likelier one per token.
PreferenceReport compare_pairs(std::string_view verb, const recipes::PairEvaluation& before,
                               const recipes::PairEvaluation& after);

// Where the chosen completion has the higher score.
PreferenceReport compare_rewards(const recipes::RewardEvaluation& before, const recipes::RewardEvaluation& after);

// Both of one set of rows. with_loss: both losses have one baseline.
PreferenceReport compare_labelled(const recipes::KtoEvaluation& before, const recipes::KtoEvaluation& after,
                                  bool with_loss);

// Steps that are judged as their labels say.
PreferenceReport compare_steps(const recipes::PrmEvaluation& before, const recipes::PrmEvaluation& after);

// The same as a table.
void print_preference_report(const files::Json& evaluations);

}  // namespace candor::cli
