#include "recipes/distill_config.h"

#include <gtest/gtest.h>

namespace candor::recipes {
namespace {

struct Resolved {
  DistillConfig config;
  std::string message;  // empty: accepted
};
Resolved resolve(const std::string& more) {
  Resolved resolved;
  const auto given = read_yaml(distill_fields(resolved.config),
                               "model_name_or_path: m\ndataset_name: d\noutput_dir: o\n" + more, "r.yaml");
  if (!given) return {resolved.config, given.error().message};
  const auto result = resolve_distill(resolved.config, *given);
  if (!result) resolved.message = result.error().message;
  return resolved;
}

TEST(DistillConfig, DefaultsAreTrls) {
  const auto [config, message] = resolve("teacher_model_name_or_path: t");
  EXPECT_EQ(message, "");
  EXPECT_EQ(config.lmbda, 0.5);
  EXPECT_EQ(config.beta, 0.5);
  EXPECT_EQ(config.temperature, 0.9);
  EXPECT_EQ(config.kd_temperature, 1.0);
  EXPECT_EQ(config.max_new_tokens, 128);
  EXPECT_FALSE(config.seq_kd);
  EXPECT_EQ(config.learning_rate, 2e-5);
  const DistillConfig minillm = resolve("teacher_model_name_or_path: t\nloss_type: minillm").config;
  EXPECT_EQ(minillm.lmbda, 1.0);
  EXPECT_EQ(minillm.temperature, 1.0);
  EXPECT_EQ(minillm.gamma, 0.0);
  EXPECT_TRUE(minillm.rkl_advantage && minillm.single_step_decomposition && minillm.length_normalization);
  EXPECT_EQ(minillm.divergence_beta(), 1.0);
}

TEST(DistillConfig, ContradictionsAreNamed) {
  const auto message = [](const std::string& more) { return resolve("lora_r: 4\n" + more).message; };
  EXPECT_EQ(message(""),
            "[distill] the teacher is the model itself and reads the same prompts, so there is nothing to learn. Give "
            "teacher_model_name_or_path, or teacher_prompt for what only the teacher is told.");
  EXPECT_EQ(message("teacher_prompt: Be brief."), "");
  EXPECT_EQ(message("adapter_name_or_path: a"), "");  // back to the base
  EXPECT_EQ(message("teacher_prompt: a\nteacher_prompt_path: b"),
            "[distill] teacher_prompt and teacher_prompt_path are both given. Remove one.");
  EXPECT_EQ(message("teacher_prompt: a\ntruncation_mode: keep_end"),
            "[distill] truncation_mode keep_end cuts prompts, and the teacher's prompt is another one than the "
            "student's. Use keep_start.");
  EXPECT_EQ(message("teacher_prompt: a\nlora_dropout: 0.1"),
            "[distill] lora_dropout 0.1 with completions that are sampled in training: what trains must be what "
            "sampled. Set it to 0, or lmbda to 0.");
  EXPECT_EQ(message("teacher_prompt: a\nlora_dropout: 0.1\nlmbda: 0"), "");
  EXPECT_EQ(message("teacher_prompt: a\ngamma: 0.5"), "[distill] gamma belongs to loss_type minillm. Remove it.");
  const std::string minillm = "teacher_prompt: a\nloss_type: minillm\n";
  EXPECT_EQ(message(minillm + "lmbda: 0.5"),
            "[distill] loss_type minillm learns from the student's own completions only, and lmbda is 0.5. Remove it, "
            "or set it to 1.");
  EXPECT_EQ(
      message(minillm + "beta: 0.5"),
      "[distill] beta has no part in loss_type minillm, which is the reverse KL on the student's own completions. "
      "Remove it.");
  EXPECT_EQ(message(minillm + "temperature: 0.7"),
            "[distill] temperature 0.7 and kd_temperature 1 differ; with loss_type minillm the policy is compared "
            "where it was sampled. Give one of them.");
  EXPECT_EQ(message(minillm + "rkl_advantage: false\nsingle_step_decomposition: false"),
            "[distill] rkl_advantage and single_step_decomposition are both false, so nothing is left of the loss. Set "
            "one to true.");
  EXPECT_EQ(message("teacher_prompt: a\nlmbda: 1.5").find("[r.yaml:6] lmbda"), 0u);
}

}  // namespace
}  // namespace candor::recipes
