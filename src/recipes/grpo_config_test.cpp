#include "recipes/grpo_config.h"

#include <gtest/gtest.h>

namespace candor::recipes {
namespace {

// A recipe that is complete; `more` is added to it.
struct Resolved {
  GrpoConfig config;
  std::string message;  // empty: accepted
};
Resolved resolve(const std::string& more) {
  Resolved resolved;
  const auto given = read_yaml(grpo_fields(resolved.config),
                               "model_name_or_path: m\ndataset_name: d\noutput_dir: o\n" + more, "r.yaml");
  if (!given) return {resolved.config, given.error().message};
  const auto result = resolve_grpo(resolved.config, *given);
  if (!result) resolved.message = result.error().message;
  return resolved;
}
std::string message(const std::string& more) {
  return resolve("reward_funcs: accuracy\nlora_r: 8\n" + more).message;
}

TEST(GrpoConfig, DefaultsAreAccepted) {
  const auto [config, message] = resolve("reward_funcs: accuracy\nlora_r: 8\n");
  EXPECT_EQ(message, "");
  EXPECT_TRUE(config.use_peft);  // by the lora_r
  EXPECT_EQ(config.gradient_shards, 1);
  EXPECT_EQ(config.groups_per_step(), 1);
}

TEST(GrpoConfig, FullFineTuningIsRefusedByName) {
  EXPECT_EQ(resolve("reward_funcs: accuracy").message,
            "[grpo] use_peft is false, which would train every weight of the model; that is not supported yet. Add "
            "use_peft: true to train a LoRA adapter.");
  EXPECT_EQ(message("use_peft: false").substr(0, 24), "[grpo] use_peft is false");
  EXPECT_EQ(resolve("reward_funcs: accuracy\nuse_peft: true").message, "");
}

TEST(GrpoConfig, TrlsWordsForQuantizationBecomeADtype) {
  const auto dtype = [](const std::string& more) {
    return resolve("reward_funcs: accuracy\nlora_r: 8\n" + more).config.dtype;
  };
  EXPECT_EQ(dtype(""), "auto");
  EXPECT_EQ(dtype("load_in_8bit: true"), "int8");
  EXPECT_EQ(dtype("load_in_4bit: true"), "int4");
  EXPECT_EQ(dtype("load_in_4bit: true\ndtype: int4"), "int4");
  EXPECT_EQ(message("load_in_8bit: true\ndtype: bfloat16"),
            "[grpo] load_in_8bit true means dtype int8, and dtype bfloat16 is given too. Remove one.");
  EXPECT_EQ(message("load_in_8bit: true\nload_in_4bit: true"),
            "[grpo] load_in_4bit true means dtype int4, and dtype int8 is given too. Remove one.");
}

TEST(GrpoConfig, AStepTakesWholeGroups) {
  EXPECT_EQ(message("per_device_train_batch_size: 12\nnum_generations: 8"),
            "[grpo] per_device_train_batch_size 12 x gradient_accumulation_steps 1 = 12 completions per step, which "
            "num_generations 8 does not divide: a step takes whole groups. Change one of the three.");
  EXPECT_EQ(message("per_device_train_batch_size: 12\ngradient_accumulation_steps: 2\nnum_generations: 8"), "");
  EXPECT_EQ(message("per_device_train_batch_size: 16\ngradient_shards: 4"),
            "[grpo] gradient_shards 4 is more than the 2 groups of a step, and a shard holds whole groups. Lower "
            "gradient_shards or raise per_device_train_batch_size.");
  EXPECT_EQ(resolve("reward_funcs: accuracy\nlora_r: 8\nper_device_train_batch_size: 64").config.gradient_shards, 4);
}

TEST(GrpoConfig, RewardsGetWhatTheyNeed) {
  const auto with = [](const std::string& more) { return resolve("lora_r: 8\n" + more).message; };
  EXPECT_EQ(with("reward_funcs: [accuracy, format]\nreward_weights: [1]\nformat_regex: x"),
            "[grpo] reward_weights has 1 numbers for 2 reward_funcs. Give one weight for each reward.");
  EXPECT_EQ(with("reward_funcs: [accuracy, accuracy]"),
            "[grpo] reward_funcs names accuracy twice. Use reward_weights to weigh it.");
  EXPECT_EQ(with("reward_funcs: format"),
            "[grpo] reward_funcs has format, which needs format_regex: the whole completion must match it.");
  EXPECT_EQ(with("reward_funcs: length"),
            "[grpo] reward_funcs has length with length_reward target, which needs length_target (tokens).");
  EXPECT_EQ(with("reward_funcs: overlong"),
            "[grpo] reward_funcs has overlong, which needs overlong_cache (tokens before the limit).");
  const auto overlong = resolve("lora_r: 8\nreward_funcs: overlong\noverlong_cache: 16\nmax_completion_length: 64");
  EXPECT_EQ(overlong.message, "");
  EXPECT_EQ(overlong.config.overlong_max, 64);
  EXPECT_EQ(
      with("reward_funcs: accuracy\naccuracy_extraction: first"),
      "[r.yaml:6] accuracy_extraction: expected last_number, boxed, gsm8k, exact or regex:PATTERN, got \"first\".");
}

TEST(GrpoConfig, AGenerationServesWholeSteps) {
  const auto with = [](const std::string& more) {
    return resolve("reward_funcs: accuracy\nlora_r: 8\ngradient_accumulation_steps: 2\n" + more);
  };
  EXPECT_EQ(with("").config.steps_of_a_generation(), 1);
  EXPECT_EQ(with("steps_per_generation: 4\nnum_iterations: 3").config.steps_of_a_generation(), 6);
  const GrpoConfig by_size = with("generation_batch_size: 32").config;
  EXPECT_EQ(by_size.steps_per_generation, 4);
  EXPECT_FALSE(by_size.generation_batch_size);  // so that the resolved recipe reads back
  EXPECT_EQ(by_size.groups_per_generation(), 4);
  EXPECT_EQ(with("steps_per_generation: 3").message,
            "[grpo] steps_per_generation 3 is not a multiple of gradient_accumulation_steps 2: an optimizer step takes "
            "its batches from one generation. Raise steps_per_generation (or generation_batch_size).");
  EXPECT_EQ(with("generation_batch_size: 12").message,
            "[grpo] generation_batch_size 12 is not a multiple of per_device_train_batch_size 8.");
  EXPECT_EQ(with("generation_batch_size: 32\nsteps_per_generation: 4").message,
            "[grpo] generation_batch_size 32 and steps_per_generation 4 are both given. Remove one.");
}

TEST(GrpoConfig, LossesThatWeighRowsThemselves) {
  EXPECT_EQ(message("loss_type: vespo\nimportance_sampling_level: sequence"),
            "[grpo] loss_type vespo weighs whole rows by itself. Remove importance_sampling_level.");
  EXPECT_EQ(message("loss_type: gmpo\nimportance_sampling_level: sequence"),
            "[grpo] loss_type gmpo has its own ratio of the sequence. Remove importance_sampling_level.");
  EXPECT_EQ(message("entropy_coef_min: 0.5\nentropy_coef_max: 0.1"),
            "[grpo] entropy_coef_min 0.5 is above entropy_coef_max 0.1.");
}

TEST(GrpoConfig, RewardsOutside) {
  const auto with = [](const std::string& more) { return resolve("lora_r: 8\n" + more).message; };
  EXPECT_EQ(with("reward_funcs: program"),
            "[grpo] reward_funcs has program, which needs reward_program: the program and its arguments.");
  EXPECT_EQ(with("reward_funcs: endpoint"),
            "[grpo] reward_funcs has endpoint, which needs reward_endpoint: an http(s) address.");
  EXPECT_EQ(with("reward_funcs: accuracy\nreward_program: [a]"),
            "[grpo] reward_program is given, but reward_funcs does not have program. Add it, or remove the key.");
  EXPECT_EQ(with("reward_funcs: [program, endpoint]\nreward_program: [a, b]\nreward_endpoint: http://localhost/"), "");
}

TEST(GrpoConfig, EvaluationNeedsRows) {
  EXPECT_EQ(message("eval_steps: 5"),
            "[grpo] evaluation is asked for (eval_strategy steps) but eval_dataset is missing.");
  const auto some = resolve("reward_funcs: accuracy\nlora_r: 8\neval_dataset: e\neval_steps: 5");
  EXPECT_EQ(some.message, "");
  EXPECT_EQ(some.config.eval_strategy, "steps");
  EXPECT_EQ(resolve("reward_funcs: accuracy\nlora_r: 8\neval_dataset: e\neval_strategy: steps").config.eval_steps, 10);
}

TEST(GrpoConfig, ContradictionsAreNamed) {
  EXPECT_EQ(message("lora_dropout: 0.05"),
            "[grpo] lora_dropout is 0.05, expected 0: with dropout the log-probabilities that train would not be those "
            "that sampled.");
  EXPECT_EQ(message("max_steps: 0"),
            "[grpo] max_steps: expected a positive number of steps, or -1 for num_train_epochs, got 0.");
  EXPECT_EQ(message("warmup_steps: 2\nwarmup_ratio: 0.1"),
            "[grpo] warmup_steps 2 and warmup_ratio 0.1 are both given. Remove one.");
  EXPECT_EQ(message("resume_from_checkpoint: auto\noverwrite_output_dir: true"),
            "[grpo] resume_from_checkpoint auto and overwrite_output_dir true contradict one another. Remove one.");
}

TEST(GrpoConfig, WarmupAsTransformersCountsIt) {
  GrpoConfig config;
  EXPECT_EQ(config.warmup_of(100), 0);
  config.warmup_steps = 7;
  EXPECT_EQ(config.warmup_of(100), 7);
  config.warmup_steps = 0.025;
  EXPECT_EQ(config.warmup_of(100), 3);
  config.warmup_steps = 0;
  config.warmup_ratio = 0.1;
  EXPECT_EQ(config.warmup_of(25), 3);
}

}  // namespace
}  // namespace candor::recipes
