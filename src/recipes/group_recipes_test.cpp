// The keys of the verbs that share GRPO's recipe: RLOO, online DPO and XPO, the estimators of advantages, and --compat.
#include <gtest/gtest.h>

#include "recipes/dpo_config.h"
#include "recipes/grpo_config.h"
#include "recipes/grpo_options.h"

namespace candor::recipes {
namespace {

struct Resolved {
  GrpoConfig config;
  std::string message;  // empty: accepted
};
Resolved resolve(GroupRecipe recipe, const std::string& more) {
  Resolved resolved{GrpoConfig(recipe), ""};
  const auto given = read_yaml(
      grpo_fields(resolved.config),
      "model_name_or_path: m\ndataset_name: d\noutput_dir: o\nreward_funcs: accuracy\nlora_r: 8\n" + more, "r.yaml");
  if (!given) return {resolved.config, given.error().message};
  const auto result = resolve_grpo(resolved.config, *given);
  if (!result) resolved.message = result.error().message;
  return resolved;
}
std::string message(const std::string& more) {
  return resolve(GroupRecipe::kGrpo, more).message;
}
GrpoConfig accepted(GroupRecipe recipe, const std::string& more) {
  const Resolved resolved = resolve(recipe, more);
  EXPECT_EQ(resolved.message, "") << more;
  return resolved.config;
}
GrpoConfig grpo(const std::string& more) {
  return accepted(GroupRecipe::kGrpo, more);
}

TEST(RlooConfig, TrlsDefaults) {
  const GrpoConfig c = accepted(GroupRecipe::kRloo, "");
  EXPECT_EQ(c.num_generations, 2);
  EXPECT_EQ(c.beta, 0.05);
  EXPECT_EQ(c.learning_rate, 1e-6);
  EXPECT_FALSE(c.normalize_advantages);
  const algorithms::GrpoOptions loss = loss_options(c);
  EXPECT_EQ(loss.loss_type, algorithms::LossType::kGrpo);
  EXPECT_EQ(loss.importance_sampling_level, algorithms::RatioLevel::kSequenceSum);
  EXPECT_EQ(loss.beta, 0);  // it is in the reward
  EXPECT_EQ(loss.kl_in_loss, algorithms::KlInLoss::kK1);
  EXPECT_EQ(resolve(GroupRecipe::kRloo, "per_device_train_batch_size: 3").message,
            "[rloo] per_device_train_batch_size 3 x gradient_accumulation_steps 1 = 3 completions per step, which "
            "num_generations 2 does not divide: a step takes whole groups. Change one of the three.");
  EXPECT_EQ(resolve(GroupRecipe::kRloo, "delta: 2").message,
            "[r.yaml:6] delta is a key of candor grpo, and candor rloo has no use for it. Remove the key.");
}

TEST(RlooConfig, RewardClipRange) {
  EXPECT_EQ(accepted(GroupRecipe::kRloo, "reward_clip_range: [-1, 2.5]").reward_clip_range,
            (std::vector<double>{-1, 2.5}));
  EXPECT_EQ(accepted(GroupRecipe::kRloo, "reward_clip_range: null").reward_clip_range, std::vector<double>{});
  EXPECT_EQ(resolve(GroupRecipe::kRloo, "reward_clip_range: [2, 1]").message,
            "[rloo] reward_clip_range: expected two numbers, the lower one first, got 2 and 1.");
  EXPECT_EQ(resolve(GroupRecipe::kRloo, "reward_clip_range: [2]").message,
            "[rloo] reward_clip_range: expected two numbers, the lower one first, got 1.");
}

TEST(PairRecipes, CountPrompts) {
  const GrpoConfig c = accepted(GroupRecipe::kOnlineDpo, "gradient_accumulation_steps: 2");
  EXPECT_EQ(c.groups_per_step(), 16);  // 8 prompts to a batch, as in TRL
  EXPECT_EQ(c.gradient_shards, 4);
  EXPECT_EQ(c.max_completion_length, 64);
  EXPECT_EQ(c.temperature, 0.9);
  EXPECT_EQ(c.policy_temperature(), 1.0);
  EXPECT_TRUE(c.needs_reference());
  EXPECT_EQ(accepted(GroupRecipe::kXpo, "alpha: 0.1\nmax_new_tokens: 8").alpha, 0.1);
  EXPECT_EQ(resolve(GroupRecipe::kOnlineDpo, "beta: 0").message,
            "[r.yaml:6] beta: expected a number above 0, got \"0\".");
  EXPECT_TRUE(
      resolve(GroupRecipe::kOnlineDpo, "alpha: 1").message.starts_with("[r.yaml:6] alpha is a key of candor xpo"));
}

TEST(Estimators, HaveTheirPapersKl) {
  const GrpoConfig rpp = grpo("advantage_estimator: reinforce_plus_plus\nbeta: 0.01\nnum_generations: 1");
  EXPECT_EQ(rpp.kl_placement, "reward");
  EXPECT_EQ(rpp.kl_estimator, "k1");
  const GrpoConfig baseline = grpo("advantage_estimator: reinforce_plus_plus_baseline\nbeta: 0.01");
  EXPECT_EQ(baseline.kl_placement, "loss");
  EXPECT_EQ(baseline.kl_estimator, "k2");
  EXPECT_EQ(grpo("advantage_estimator: remax\nbeta: 0.01").kl_placement, "reward");
  EXPECT_EQ(grpo("advantage_estimator: remax\nbeta: 0.01\nkl_placement: loss").kl_estimator, "k3");
  EXPECT_EQ(grpo("").kl_estimator, "k3");
}

TEST(Estimators, WhatDoesNotGoTogetherIsNamed) {
  EXPECT_EQ(message("num_generations: 1"),
            "[grpo] num_generations is 1, but advantage_estimator group compares the completions of a prompt: it needs "
            "at least 2.");
  EXPECT_EQ(message("advantage_estimator: remax\nnum_generations: 1\ndynamic_sampling: true"),
            "[grpo] dynamic_sampling looks for a spread in each group, and num_generations 1 has none. Remove one.");
  EXPECT_EQ(message("normalize_advantages: true"),
            "[grpo] normalize_advantages is advantage_estimator rloo's; this recipe's is group. Remove the key.");
  EXPECT_EQ(message("reward_clip_range: [0, 1]"),
            "[grpo] reward_clip_range is advantage_estimator rloo's; this recipe's is group. Remove the key.");
  EXPECT_EQ(message("advantage_estimator: rloo\nmulti_objective_aggregation: normalize_then_sum"),
            "[grpo] multi_objective_aggregation normalize_then_sum is advantage_estimator group's; this recipe's is "
            "rloo. Remove one.");
  EXPECT_EQ(message("advantage_estimator: remax\nloss_type: gmpo"),
            "[grpo] loss_type gmpo takes one advantage for each completion, and advantage_estimator remax gives one "
            "for each token. Take another loss_type.");
  EXPECT_EQ(message("advantage_estimator: reinforce_plus_plus\nbeta: 1\nkl_placement: loss"),
            "[grpo] advantage_estimator reinforce_plus_plus has its KL in the reward. Remove kl_placement.");
  EXPECT_EQ(
      message("advantage_estimator: reinforce_plus_plus_baseline\nbeta: 1\nkl_placement: reward\nkl_estimator: k1"),
      "[grpo] advantage_estimator reinforce_plus_plus_baseline has its KL in the loss. Remove kl_placement.");
  EXPECT_EQ(message("beta: 0.1\nkl_estimator: k1"),
            "[grpo] kl_estimator k1 has no gradient as a term of the loss. Add kl_placement: reward, or take k2 (the "
            "reverse KL's gradient) or k3.");
  EXPECT_EQ(message("beta: 0.1\nkl_estimator: k2\nkl_placement: reward"),
            "[grpo] kl_estimator is k2, but a KL in the reward is k1. Remove the key, or add kl_placement: loss.");
  EXPECT_EQ(message("loss_type: gmpo\nimportance_sampling_level: sequence_sum"),
            "[grpo] loss_type gmpo has its own ratio of the sequence. Remove importance_sampling_level.");
}

// The table "Definitions that differ between trainers" of docs/losses.md.
TEST(Compat, IsTheTable) {
  const GrpoConfig ours = grpo(""), trl = grpo("compat: trl"), verl = grpo("compat: verl"),
                   openrlhf = grpo("compat: openrlhf");
  EXPECT_EQ(advantage_options(ours).std_epsilon, 1e-4);
  EXPECT_EQ(advantage_options(trl).std_epsilon, 1e-4);
  EXPECT_EQ(advantage_options(verl).std_epsilon, 1e-6);
  EXPECT_EQ(advantage_options(openrlhf).std_epsilon, 1e-9);
  EXPECT_EQ(loss_options(trl).k3_clamp, std::nullopt);
  EXPECT_EQ(loss_options(verl).k3_clamp, 10);
  EXPECT_EQ(loss_options(openrlhf).k3_clamp, 10);
  EXPECT_EQ(loss_options(verl).k3_log_ratio_clamp, 20);
  EXPECT_EQ(loss_options(openrlhf).k3_log_ratio_clamp, std::nullopt);
  EXPECT_EQ(loss_options(trl).kl_in_loss, algorithms::KlInLoss::kCorrectedK3);
  EXPECT_EQ(loss_options(verl).kl_in_loss, algorithms::KlInLoss::kK3);
  EXPECT_EQ(loss_options(openrlhf).kl_in_loss, algorithms::KlInLoss::kK3);
  EXPECT_EQ(ours.dapo_denominator, "step");
  EXPECT_EQ(trl.dapo_denominator, "generation");
  EXPECT_EQ(verl.dapo_denominator, "step");
}

TEST(Compat, IpoOfDpo) {
  const auto sums = [](const std::string& more) {
    DpoConfig config;
    const auto given =
        read_yaml(dpo_fields(config), "model_name_or_path: m\ndataset_name: d\noutput_dir: o\n" + more, "r.yaml");
    EXPECT_TRUE(given);
    const auto resolved = resolve_dpo(config, *given);
    EXPECT_TRUE(resolved) << resolved.error().message;
    return loss_options(config).ipo_of_sums;
  };
  EXPECT_FALSE(sums("loss_type: ipo"));
  EXPECT_FALSE(sums("loss_type: ipo\ncompat: trl"));
  EXPECT_TRUE(sums("loss_type: ipo\ncompat: openrlhf"));
  EXPECT_FALSE(sums("loss_type: ipo\ncompat: openrlhf\nipo_scores: mean"));
}

TEST(Compat, AKeyOfItsOwnWins) {
  const GrpoConfig c = grpo("compat: verl\nstd_epsilon: 0.5\nuse_bias_correction_kl: true\nk3_clamp: 3");
  EXPECT_EQ(c.std_epsilon, 0.5);
  EXPECT_TRUE(c.use_bias_correction_kl);
  EXPECT_EQ(c.k3_clamp, 3);
  EXPECT_EQ(c.k3_log_ratio_clamp, 20);
  EXPECT_EQ(message("compat: unsloth"), "[r.yaml:6] compat: expected one of trl, verl, openrlhf, got \"unsloth\".");
}

}  // namespace
}  // namespace candor::recipes
