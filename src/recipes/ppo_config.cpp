#include "recipes/ppo_config.h"

#include <algorithm>

namespace candor::recipes {
namespace {

Result<void> check_batch(PpoConfig& c, const Given& given) {
  const int64_t rows = c.rows_of_a_generation(), wanted = c.num_generations * c.num_mini_batches;
  if (rows < 2)
    return error(
        "[ppo] a generation has one completion (per_device_train_batch_size 1 x gradient_accumulation_steps 1), and "
        "advantages are whitened over at least 2. Raise per_device_train_batch_size.");
  if (rows % wanted != 0)
    return error(
        "[ppo] per_device_train_batch_size {} x gradient_accumulation_steps {} = {} completions of a generation, which "
        "num_generations {} x num_mini_batches {} does not divide: a mini-batch takes all completions of its prompts. "
        "Change one of them.",
        c.per_device_train_batch_size, c.gradient_accumulation_steps, rows, c.num_generations, c.num_mini_batches);
  const int64_t groups = c.groups_per_step();
  if (!given.has("gradient_shards")) c.gradient_shards = std::min(c.gradient_shards, groups);
  if (c.gradient_shards > groups)
    return error(
        "[ppo] gradient_shards {} is more than the {} prompt{} of an optimizer step, and a shard holds whole groups. "
        "Lower gradient_shards or raise per_device_train_batch_size.",
        c.gradient_shards, groups, groups == 1 ? "" : "s");
  return {};
}

Result<void> check_length(PpoConfig& c, const Given& given) {
  if (c.response_length) {
    if (given.has("max_completion_length") && *c.response_length != c.max_completion_length)
      return error("[ppo] response_length {} and max_completion_length {} are both given. Remove one.",
                   *c.response_length, c.max_completion_length);
    c.max_completion_length = *c.response_length;
    c.response_length.reset();  // so that the resolved recipe reads back
  }
  if (c.total_episodes && c.max_steps > 0)
    return error("[ppo] total_episodes {} and max_steps {} are both given. Remove one.", *c.total_episodes,
                 c.max_steps);
  return {};
}

}  // namespace

Result<void> resolve_ppo(PpoConfig& c, const Given& given) {
  TRY(resolve_training(c, given, "ppo"));
  TRY(resolve_best_model(c, "ppo"));
  TRY(check_length(c, given));
  if (c.reward_funcs.empty() && !c.reward_model_path.empty()) c.reward_funcs = {kRewardModel};
  TRY(resolve_rollouts(c, given, "ppo"));
  return check_batch(c, given);
}

}  // namespace candor::recipes
