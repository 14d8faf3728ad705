#include "recipes/reward_config.h"

namespace candor::recipes {

FieldList reward_fields(RewardConfig& c) {
  FieldList list("reward");
  add_model_and_data(list, c,
                     "the pairs: JSONL, JSON or CSV with prompt (or none: what both sides share), chosen and rejected, "
                     "and margin where it is known");
  add_preference_rows(list, c);
  add_batch(list, c, "pairs");
  list.section(Heading::kResults, "Loss");
  list.add("center_rewards_coefficient", &c.center_rewards_coefficient,
           "weight of the mean of (chosen score + rejected score)², which keeps scores near 0",
           {.range = at_least(0), .without = "0"});
  add_optimizer(list, c);
  add_adapter(list, c);
  add_best_model(list, c, {"eval_loss", "eval_accuracy", "eval_margin"});
  add_speed(list, c);
  add_record(list, c);
  return list;
}

Result<void> resolve_reward(RewardConfig& c, const Given& given) {
  return resolve_preference(c, given, "reward", "pair");
}

}  // namespace candor::recipes
