#include "recipes/ppo_config.h"

#include <gtest/gtest.h>

#include "recipes/config_print.h"

namespace candor::recipes {
namespace {

// A recipe that is complete; `more` is added to it.
struct Resolved {
  PpoConfig config;
  std::string message;  // empty: accepted
};
Resolved resolve(const std::string& more) {
  Resolved resolved;
  const auto given = read_yaml(ppo_fields(resolved.config),
                               "model_name_or_path: m\ndataset_name: d\noutput_dir: o\nlora_r: 8\n" + more, "r.yaml");
  if (!given) return {resolved.config, given.error().message};
  const auto result = resolve_ppo(resolved.config, *given);
  if (!result) resolved.message = result.error().message;
  return resolved;
}
std::string message(const std::string& more) {
  return resolve("reward_funcs: accuracy\n" + more).message;
}

TEST(PpoConfig, DefaultsAreTrls) {
  const auto [config, message] = resolve("reward_model_path: runs/rm/final\n");
  EXPECT_EQ(message, "");
  EXPECT_EQ(config.reward_funcs, std::vector<std::string>{kRewardModel});
  EXPECT_EQ(config.num_ppo_epochs, 4);
  EXPECT_EQ(config.num_mini_batches, 1);
  EXPECT_EQ(config.max_completion_length, 53);
  EXPECT_EQ(config.temperature, 0.7);
  EXPECT_EQ(config.kl_coef, 0.05);
  EXPECT_EQ(config.kl_estimator, "k1");
  EXPECT_EQ(config.cliprange, 0.2);
  EXPECT_EQ(config.vf_coef, 0.1);
  EXPECT_EQ(config.cliprange_value, 0.2);
  EXPECT_EQ(config.gamma, 1.0);
  EXPECT_EQ(config.lam, 0.95);
  EXPECT_EQ(config.learning_rate, 5e-5);
  EXPECT_FALSE(config.whiten_rewards);
  EXPECT_EQ(config.groups_per_step(), 8);
  EXPECT_EQ(config.gradient_shards, 4);
}

TEST(PpoConfig, TheResolvedRecipeReadsBack) {
  PpoConfig first =
      resolve("reward_funcs: accuracy\nresponse_length: 20\nstop_token: null\nmissing_eos_penalty: 1\n").config;
  EXPECT_EQ(first.max_completion_length, 20);
  EXPECT_EQ(first.stop_token, "none");
  PpoConfig second;
  const std::string yaml = yaml_text(ppo_fields(first));
  const auto given = read_yaml(ppo_fields(second), yaml, "recipe.yaml");
  ASSERT_TRUE(given) << given.error().message;
  ASSERT_TRUE(resolve_ppo(second, *given));
  EXPECT_EQ(yaml_text(ppo_fields(second)), yaml);
}

TEST(PpoConfig, AMiniBatchTakesWholeGroups) {
  EXPECT_EQ(
      message("num_mini_batches: 3"),
      "[ppo] per_device_train_batch_size 8 x gradient_accumulation_steps 1 = 8 completions of a generation, which "
      "num_generations 1 x num_mini_batches 3 does not divide: a mini-batch takes all completions of its prompts. "
      "Change one of them.");
  EXPECT_EQ(message("num_mini_batches: 4\ngradient_shards: 4"),
            "[ppo] gradient_shards 4 is more than the 2 prompts of an optimizer step, and a shard holds whole groups. "
            "Lower gradient_shards or raise per_device_train_batch_size.");
  EXPECT_EQ(resolve("reward_funcs: accuracy\nnum_mini_batches: 4").config.gradient_shards, 2);
  EXPECT_EQ(
      message("per_device_train_batch_size: 1"),
      "[ppo] a generation has one completion (per_device_train_batch_size 1 x gradient_accumulation_steps 1), and "
      "advantages are whitened over at least 2. Raise per_device_train_batch_size.");
}

TEST(PpoConfig, ContradictionsAreNamed) {
  EXPECT_EQ(message("response_length: 20\nmax_completion_length: 30"),
            "[ppo] response_length 20 and max_completion_length 30 are both given. Remove one.");
  EXPECT_EQ(message("total_episodes: 20\nmax_steps: 30"),
            "[ppo] total_episodes 20 and max_steps 30 are both given. Remove one.");
  EXPECT_EQ(resolve("").message,
            "[ppo] nothing says what a completion is rewarded for. Give reward_model_path, or reward_funcs.");
  EXPECT_EQ(
      message("reward_model_path: runs/rm/final"),
      "[ppo] reward_model_path is given, but reward_funcs does not have reward_model. Add it, or remove the key.");
  EXPECT_EQ(
      resolve("reward_funcs: reward_model").message,
      "[ppo] reward_funcs has reward_model, which needs reward_model_path: what `candor reward` wrote, or a model "
      "with a score head.");
  EXPECT_EQ(resolve("reward_model_path: [a, a]").message,
            "[ppo] reward_model_path names a twice. Use reward_weights to weigh it.");
  EXPECT_EQ(resolve("reward_funcs: [accuracy, runs/rm/final]").message, "");
  EXPECT_EQ(message("use_peft: false").substr(0, 22), "[ppo] use_peft is fals");
  EXPECT_EQ(message("missing_eos_penalty: 0"),
            "[r.yaml:6] missing_eos_penalty: expected a number above 0, or none, got \"0\".");
}

}  // namespace
}  // namespace candor::recipes
