// The held-out reward beside training on pairs.
//
// These recipes sample nothing, so there is no completion of the policy's to ask about. What they teach is an order:
// the policy's own reward (of DPO beta times the log-ratio, of CPO and ORPO beta times the log-probability) prefers one
// side of a pair. So every look is at the same held-out pairs: by how much the held-out reward of the sides that the
// policy prefers is above that of the others, beside the same by its own reward, which training raises. The labels of
// those pairs play no part: where they share the fault of those that train, the policy agrees with them while the
// held-out reward falls. Its scores of given texts never change, so they are taken once, before the start.
#pragma once

#include <span>
#include <vector>

#include "algorithms/preference.h"
#include "data/rows.h"
#include "recipes/pair_step.h"
#include "rewards/rewards.h"

namespace candor::recipes {

// The held-out reward of both sides of every pair; NaN: it abstained.
struct GoldScores {
  std::vector<double> chosen, rejected;

  int64_t scored() const;  // pairs with both
};

// A pair as rewards see it: the columns of its row, the prompt made explicit, and the text of its sides.
struct GoldRow {
  text::Json columns;
  std::string chosen, rejected;
};
// Of the pairs, which were made of `rows`. Error: a row that the recipe's held-out rewards cannot be asked about.
Result<std::vector<GoldRow>> gold_rows(const PreferenceConfig& config, const data::Rows& rows,
                                       const data::PairSet& pairs);

// Asks `gold` about each side of each pair. Error: a reward failed, or abstained so often that no pair has both scores.
Result<GoldScores> score_pairs(std::span<const rewards::Reward> gold, const data::PairSet& pairs,
                               std::span<const GoldRow> rows);

// The same with the held-out rewards that the recipe names, whose models are gone afterwards. `files`: of the model.
Result<GoldScores> score_held_out(const PreferenceConfig& config, const engine::Context& context,
                                  const engine::Model& model, const files::ModelFiles& files,
                                  const data::PairSet& pairs, std::span<const GoldRow> rows);

// One look, over the pairs with both scores. A pair of which the policy prefers neither side counts 0.
struct GoldOfPairs {
  double gold = 0;        // mean held-out reward of the preferred sides less that of the others
  double error = 0;       // its standard error, the deviation dividing by n - 1; NaN: one pair, or no side is preferred
  double own_reward = 0;  // the same mean by the policy's own reward, so never below 0
  double agreement = 0;   // share of the pairs that both order that they order alike; NaN: there are none
};
GoldOfPairs gold_of_pairs(const GoldScores& scores, std::span<const algorithms::PreferencePair> pairs);

// Notes a look in a step before it is taken: for the guard, and gold, gold/standard_error, gold/own_reward and
// gold/agreement in its row.
void note_gold(const GoldOfPairs& look, SupervisedStep& step);

}  // namespace candor::recipes
