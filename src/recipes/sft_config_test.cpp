#include "recipes/sft_config.h"

#include <gtest/gtest.h>

namespace candor::recipes {
namespace {

// A recipe that is complete; `more` is added to it.
struct Resolved {
  SftConfig config;
  std::string message;  // empty: accepted
};
Resolved resolve(const std::string& more) {
  Resolved resolved;
  const auto given = read_yaml(sft_fields(resolved.config),
                               "model_name_or_path: m\ndataset_name: d\noutput_dir: o\n" + more, "r.yaml");
  if (!given) return {resolved.config, given.error().message};
  const auto result = resolve_sft(resolved.config, *given);
  if (!result) resolved.message = result.error().message;
  return resolved;
}

TEST(SftConfig, DefaultsAreTrls) {
  const auto [config, message] = resolve("");
  EXPECT_EQ(message, "");
  EXPECT_FALSE(config.use_peft);
  EXPECT_EQ(config.gradient_shards, 1);  // all weights train: each further one would hold their gradients again
  EXPECT_EQ(config.learning_rate, 2e-5);
  EXPECT_EQ(config.max_length, 1024);
  EXPECT_EQ(config.rows_per_step(), 8);
  EXPECT_EQ(config.greater_is_better, "false");
  EXPECT_EQ(resolve("lora_r: 8").config.gradient_shards, 4);
  EXPECT_EQ(resolve("lora_r: 8\nper_device_train_batch_size: 2").config.gradient_shards, 2);
}

TEST(SftConfig, ContradictionsAreNamed) {
  const auto message = [](const std::string& more) { return resolve(more).message; };
  EXPECT_EQ(message("use_peft: false\nadapter_name_or_path: a"),
            "[sft] use_peft is false, but adapter_name_or_path names an adapter to train. Remove one of the two.");
  EXPECT_EQ(message("lora_dropout: 0.05"), "");
  EXPECT_EQ(
      message("lora_dropout: 0.05\nuse_dora: true"),
      "[sft] lora_dropout 0.05 is not supported with DoRA: the base would have to see what is left of its input a "
      "second time. Set it to 0.");
  EXPECT_EQ(message("lora_dropout: 0.05\ninit_lora_weights: pissa"), "");
  EXPECT_EQ(message("use_dora: true\ninit_lora_weights: pissa"),
            "[sft] use_dora true together with init_lora_weights pissa is not supported. Remove one.");
  EXPECT_EQ(message("lora_rank_pattern: [q_proj]"),
            "[sft] lora_rank_pattern: expected PATTERN=NUMBER, as in q_proj=4, got \"q_proj\".");
  EXPECT_EQ(message("lora_rank_pattern: ['a=b=0']"),
            "[sft] lora_rank_pattern: expected a rank from 1 to 4096, got \"a=b=0\".");
  EXPECT_EQ(message("lora_alpha_pattern: [q_proj=0.5, 'a=b=3']"), "");
  EXPECT_EQ(message("lora_layers_to_transform: [1, 2.5]"),
            "[sft] lora_layers_to_transform: expected whole numbers, got 2.5.");
  EXPECT_EQ(message("lora_layers_pattern: [layers]"),
            "[sft] lora_layers_pattern says where layers are numbered, but lora_layers_to_transform is empty.");
  EXPECT_EQ(message("packing: true\nmax_length: null"),
            "[sft] packing needs max_length, the size of a bin. Give it in tokens.");
  EXPECT_EQ(message("gradient_shards: 16"),
            "[sft] gradient_shards 16 is more than the 8 rows of a step, and a shard holds whole rows. Lower "
            "gradient_shards or raise per_device_train_batch_size.");
}

TEST(SftConfig, TheBestModelNeedsEvaluationsWithCheckpoints) {
  EXPECT_EQ(resolve("load_best_model_at_end: true").message,
            "[sft] load_best_model_at_end needs evaluations to choose from. Give eval_dataset and eval_steps.");
  EXPECT_EQ(
      resolve("load_best_model_at_end: true\neval_dataset: e\neval_steps: 4\nsave_steps: 6").message,
      "[sft] load_best_model_at_end needs a checkpoint of an evaluation: save_steps 6 is no multiple of eval_steps "
      "4. Change one of the two.");
  const auto some = resolve(
      "load_best_model_at_end: true\neval_dataset: e\neval_steps: 4\nsave_steps: 8\nmetric_for_best_model: "
      "mean_token_accuracy");
  EXPECT_EQ(some.message, "");
  EXPECT_TRUE(some.config.best_is_greatest());
}

TEST(SftConfig, OptionsOfTheData) {
  SftConfig config = resolve("packing: true\nmax_length: 64\neval_packing: false\ncompletion_only_loss: false").config;
  EXPECT_EQ(data_options(config, 512, false).packing, data::PackingStrategy::kBfd);
  EXPECT_EQ(data_options(config, 512, true).packing, std::nullopt);
  EXPECT_EQ(data_options(config, 512, false).completion_only_loss, false);
  EXPECT_EQ(data_options(config, 512, false).max_length, 64);
  EXPECT_EQ(data_options(resolve("max_length: null").config, 512, false).max_length, std::nullopt);
}

}  // namespace
}  // namespace candor::recipes
