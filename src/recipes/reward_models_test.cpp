// Learned rewards: a score is the head's value behind the last token, an ensemble is its models, and what cannot be a
// reward model is refused by name.
#include "recipes/reward_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/atomic_file.h"
#include "engine/memory_plan.h"
#include "recipes/rollout_testing.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::golden;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using engine::testing::random_ids;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct RewardModelTest : ::testing::Test {
  ScratchFolder scratch;
  Bench bench;
  files::ModelFiles files = testing::rollout_model_files({7});
  engine::Model model = bench.load(files);
  std::vector<int32_t> prompt = random_ids(19, testing::kVocabulary, 1), other = random_ids(7, testing::kVocabulary, 2);
  std::vector<std::vector<int32_t>> answers;
  text::Json row = {{"prompt", "What is 2+2?"}};
  std::vector<rewards::Completion> completions;

  RewardModelTest() {
    for (uint32_t i = 0; i < 5; ++i) answers.push_back(random_ids(2 + i, testing::kVocabulary, 10 + i));
    for (size_t i = 0; i < 5; ++i)
      completions.push_back({&row, "It is 4", answers[i], true, i < 3 ? std::span<const int32_t>(prompt) : other});
  }
  std::string reward_model(const std::string& name, uint64_t seed, int64_t rank = 4) {
    return testing::write_reward_model(bench, model, scratch / name, seed, rank);
  }
  RolloutConfig config_of(std::vector<std::string> paths, const std::string& ensemble = "mean") {
    RolloutConfig config;
    config.num_generations = 3;
    config.max_completion_length = 8;
    config.reward_model_path = std::move(paths);
    config.reward_funcs = {kRewardModel};
    config.reward_ensemble = ensemble;
    return config;
  }
  std::vector<double> scores_of(const RolloutConfig& config) {
    RewardModels models;
    value_of(models.load(config, *bench.context, model, files));
    return value_of(models.score(config.reward_funcs.front(), completions));
  }
  std::string refusal(const RolloutConfig& config) {
    RewardModels models;
    const auto loaded = models.load(config, *bench.context, model, files);
    return loaded ? "" : loaded.error().message;
  }
  // Straight through a pass, one completion at a time.
  std::vector<double> by_hand(const std::string& path) {
    engine::Role role =
        value_of(engine::role_from_peft(*bench.context, "by hand", model, value_of(files::read_peft_adapter(path))));
    engine::PolicyPass pass(*bench.context, "by hand", model, role.adapter->max_padded_rank,
                            engine::PolicyPass::Keep::kOneLayer);
    std::vector<double> scores;
    for (const rewards::Completion& completion : completions) {
      const engine::ValueGroup group{
          completion.prompt_ids, {completion.ids}, {{static_cast<int64_t>(completion.ids.size())}}};
      scores.push_back(static_cast<double>(pass.values(role.adapter_or_null(), *role.head, {&group, 1})[0]));
    }
    return scores;
  }
};

TEST_F(RewardModelTest, AScoreIsTheValueBehindTheLastToken) {
  const std::string path = reward_model("rm/final", 3);
  const std::vector<double> scores = scores_of(config_of({path}));
  EXPECT_EQ(scores, by_hand(path));
  EXPECT_NE(scores[0], scores[1]);
  for (const int64_t budget : {1, 30, 1000}) {
    RolloutConfig config = config_of({path});
    config.micro_batch_tokens = budget;
    EXPECT_EQ(scores_of(config), scores) << budget;
  }
}

TEST_F(RewardModelTest, AnEnsembleIsItsModels) {
  const std::string a = reward_model("a", 3), b = reward_model("b", 4, 7), c = reward_model("c", 5);
  const std::vector<std::vector<double>> alone = {by_hand(a), by_hand(b), by_hand(c)};
  const std::vector<double> mean = scores_of(config_of({a, b, c})), worst = scores_of(config_of({a, b, c}, "min"));
  for (size_t i = 0; i < completions.size(); ++i) {
    EXPECT_EQ(mean[i], (alone[0][i] + alone[1][i] + alone[2][i]) / 3);
    EXPECT_EQ(worst[i], std::min({alone[0][i], alone[1][i], alone[2][i]}));
  }
  EXPECT_NE(mean, worst);
  // arXiv 2310.02743: mean - lambda·variance over the members; what broken ones give is something else.
  RolloutConfig conservative = config_of({a, b, c}, "mean_minus_variance");
  conservative.reward_ensemble_lambda = 0.5;
  const std::vector<double> uncertain = scores_of(conservative);
  const auto variance = [&](size_t i, double divisor) {
    double squares = 0;
    for (const auto& member : alone) squares += (member[i] - mean[i]) * (member[i] - mean[i]);
    return squares / divisor;
  };
  using Combined = std::function<double(size_t i)>;
  const std::vector<std::pair<std::string, Combined>> twins{
      {"the mean alone", [&](size_t i) { return mean[i]; }},
      {"the variance added", [&](size_t i) { return mean[i] + 0.5 * variance(i, 3); }},
      {"divided by one less", [&](size_t i) { return mean[i] - 0.5 * variance(i, 2); }},
      {"the deviation for the variance", [&](size_t i) { return mean[i] - 0.5 * std::sqrt(variance(i, 3)); }},
  };
  for (size_t i = 0; i < completions.size(); ++i) {
    EXPECT_NEAR(uncertain[i], mean[i] - 0.5 * variance(i, 3), 1e-12);  // the same sums in double
    for (const auto& [name, twin] : twins) EXPECT_GT(std::abs(uncertain[i] - twin(i)), 1e-9) << name;
  }
  RewardModels ensemble;
  value_of(ensemble.load(conservative, *bench.context, model, files));
  EXPECT_TRUE(ensemble.disagreement(kRewardModel).empty());
  value_of(ensemble.score(kRewardModel, completions));
  const std::vector<double> apart = ensemble.disagreement(kRewardModel);
  ASSERT_EQ(apart.size(), completions.size());
  EXPECT_NEAR(apart[1], std::sqrt(variance(1, 3)), 1e-12);
  conservative.reward_ensemble_lambda = 0;
  EXPECT_EQ(scores_of(conservative), mean);
  RolloutConfig split = config_of({a, b, c});
  split.micro_batch_tokens = 1;  // each model and group by itself
  EXPECT_EQ(scores_of(split), mean);
}

TEST_F(RewardModelTest, AreRewardsBesideOthers) {
  RolloutConfig config = config_of({reward_model("a", 3), reward_model("b", 4)});
  config.reward_funcs = {reward_model("c/final", 5), kRewardModel, "repetition"};
  EXPECT_EQ(reward_names(config), (std::vector<std::string>{"c", "reward_model", "repetition"}));
  RewardModels models;
  const auto rewards = value_of(make_rewards(config, models));
  value_of(models.load(config, *bench.context, model, files));
  const std::vector<double> parts = value_of(rewards::score_all(rewards, completions));
  const std::vector<double> c = by_hand((scratch / "c/final").string()),
                            ab = scores_of(config_of(config.reward_model_path));
  for (size_t i = 0; i < completions.size(); ++i) {
    EXPECT_EQ(parts[3 * i], c[i]);
    EXPECT_EQ(parts[3 * i + 1], ab[i]);
  }
  config.reward_funcs.push_back((scratch / "elsewhere/c").string());
  EXPECT_EQ(reward_names(config).front(), (scratch / "c/final").string());  // two would be called c
}

// With length_penalty_alpha what is as good as its group, and longer, is worth less; nothing below the group changes.
TEST_F(RewardModelTest, ALengthPenaltyKeepsTheirOrder) {
  RolloutConfig config = config_of({reward_model("a", 3)});
  RewardModels models;
  const auto plain = value_of(make_rewards(config, models));
  config.length_penalty_alpha = 0.5;
  const auto penalised = value_of(make_rewards(config, models));
  value_of(models.load(config, *bench.context, model, files));
  const std::vector<double> before = value_of(rewards::score_all(plain, completions)),
                            after = value_of(rewards::score_all(penalised, completions));
  double mean = 0;
  for (const double score : before) mean += score / static_cast<double>(before.size());  // all of one row
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] < mean) {
      EXPECT_EQ(after[i], before[i]);
      continue;
    }
    EXPECT_LT(after[i], before[i]);
    for (size_t k = 0; k < before.size(); ++k) {
      if (before[k] < mean) {
        EXPECT_GT(after[i], after[k]);
      }
    }
  }
}

TEST_F(RewardModelTest, OnlyWhatHasOneScoreIsARewardModel) {
  EXPECT_EQ(refusal(config_of({(scratch / "nowhere").string()})).substr(0, 19), "[reward_model_path]");
  const engine::Adapter adapter = bench.random_adapter(model);
  value_of(files::write_peft_adapter(scratch / "policy", engine::adapter_to_peft(adapter)));
  const std::string policy = (scratch / "policy").string();
  EXPECT_EQ(refusal(config_of({policy})),
            fmt::format("[reward_model_path] {} has no score head: it is the adapter of a language model. Name what "
                        "`candor reward` wrote.",
                        policy));
  reward_model("run/final", 3);
  EXPECT_EQ(refusal(config_of({(scratch / "run").string()})),
            fmt::format("[reward_model_path] {} is the folder of a run. Name its {}.", (scratch / "run").string(),
                        (scratch / "run/final").string()));
  engine::Role labels = engine::base_role(*bench.context, "labels", model);
  labels.adapter = bench.random_adapter(model);
  labels.head = engine::make_score_head(*bench.context, model, 3, 1);
  value_of(files::write_peft_adapter(scratch / "labels", engine::role_to_peft(labels)));
  EXPECT_EQ(refusal(config_of({(scratch / "labels").string()})),
            fmt::format("[reward_model_path] {}: the score head has 3 labels; a reward is one number.",
                        (scratch / "labels").string()));
  const files::ModelFiles second = testing::rollout_model_files({7}, 99);
  const engine::Model other_base = bench.load(second);
  const std::string foreign = testing::write_reward_model(bench, other_base, scratch / "foreign", 3);
  EXPECT_THAT(refusal(config_of({foreign})), StartsWith(fmt::format("[reward_model_path] {}: ", foreign)));
  RolloutConfig named = config_of({});
  named.reward_funcs = {policy};
  EXPECT_THAT(refusal(named), StartsWith("[reward_funcs] "));
}

TEST_F(RewardModelTest, AScoreThatIsNoNumberStopsTheRun) {
  const std::string path = reward_model("rm", 3);
  RolloutConfig config = config_of({path, reward_model("other", 4)}, "min");  // whose minimum would hide it
  RewardModels models;
  value_of(models.load(config, *bench.context, model, files));
  model.final_norm.weight[0] = NAN;
  EXPECT_THAT(models.score(kRewardModel, completions).error().message,
              HasSubstr("scored completion 1 of 5 with nan: the reward model is damaged, or its training diverged."));
}

// The golden sequence classifier, on the vocabulary of the golden Llama and on another.
// What screening asks before a run (cli/screening.h): completions of one prompt, num_generations at most at once, and
// no longer than max_completion_length. The plan of one group has room for all of them.
TEST_F(RewardModelTest, WhatIsScreenedFitsThePlanOfOneGroup) {
  const RolloutConfig config = config_of({reward_model("a", 1), reward_model("b", 2)});
  engine::Planner planner(bench.context->kernels, bench.pool);
  const engine::Model planned_model = value_of(engine::load_model(planner.context(), files, model.dtype));
  RewardModels planned, models;
  value_of(planned.load(config, planner.context(), planned_model, files));
  planner.phase("rewards", [&] { planned.plan(1, static_cast<int64_t>(prompt.size())); });
  const engine::MemoryPlan plan = planner.take();

  value_of(models.load(config, *bench.context, model, files));
  const std::vector<int32_t> longest = random_ids(config.max_completion_length, testing::kVocabulary, 30);
  for (size_t count = 1; count <= static_cast<size_t>(config.num_generations); ++count)
    for (const std::span<const int32_t> asked : {std::span<const int32_t>(prompt), std::span<const int32_t>(other)})
      for (const size_t length : {size_t{1}, longest.size()}) {
        const std::vector<rewards::Completion> keys(count,
                                                    {&row, ":", std::span(longest).first(length), true, asked, true});
        value_of(models.score(kRewardModel, keys));
      }
  size_t compared = 0;
  for (const engine::PlannedBuffer& taken : engine::planned_buffers(bench.ledger.entries(), true))
    for (const engine::PlannedBuffer& own : plan.buffers)
      if (taken.owner == own.owner && taken.name == own.name && taken.kind == own.kind) {
        EXPECT_LE(taken.bytes, own.bytes) << own.owner << " " << own.name;
        compared += own.owner.starts_with("reward");
      }
  EXPECT_GT(compared, 3u);
}

TEST(RewardModelsOfTheirOwn, SeeTheIdsOfTheSameVocabulary) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward/config.json"));
  Bench bench;
  const files::ModelFiles files = value_of(files::open_model(golden("models/llama")));
  const engine::Model base = bench.load(files);
  RolloutConfig config;
  config.reward_funcs = {golden("models/llama_reward").string()};
  RewardModels models;
  value_of(models.load(config, *bench.context, base, files));
  const std::vector<int32_t> prompt = random_ids(9, files.config.vocab_size, 1), first = random_ids(4, 100, 2),
                             second = random_ids(6, 100, 3);
  const std::vector<rewards::Completion> completions = {{nullptr, "", first, true, prompt},
                                                        {nullptr, "", second, true, prompt}};
  const std::vector<double> scores = value_of(models.score(config.reward_funcs[0], completions));

  const files::ModelFiles own = value_of(files::open_model(golden("models/llama_reward")));
  const engine::Role role = value_of(engine::role_of_model(*bench.context, "own", own, std::nullopt));
  engine::PolicyPass pass(*bench.context, "own", *role.model, 0, engine::PolicyPass::Keep::kOneLayer);
  const engine::ValueGroup group{prompt, {first, second}, {{4}, {6}}};
  const std::vector<float> values = pass.values(nullptr, *role.head, {&group, 1});
  EXPECT_EQ(scores, std::vector<double>(values.begin(), values.end()));

  const files::ModelFiles other = testing::rollout_model_files({7});
  const engine::Model other_base = bench.load(other);
  RewardModels refused;
  EXPECT_THAT(refused.load(config, *bench.context, other_base, other).error().message,
              HasSubstr("has another vocabulary than the policy, and no tokenizer to read its text with:"));
}

// The golden sequence classifier with words of its own, beside a policy of other tokens: it reads prompt and answer as
// text, a conversation through its own template.
TEST(RewardModelsOfTheirOwn, ReadTheTextWhereTheVocabularyIsAnother) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward/config.json"));
  const ScratchFolder scratch;
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(golden("models/llama_reward") / name, scratch / name);
  value_of(write_file_atomically(scratch / "tokenizer.json", R"({"version": "1.0", "added_tokens": [],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "?", "vocab":
      {"?": 0, "user:": 1, "assistant:": 2, "end": 3, "two": 4, "and": 5, "is": 6, "four": 7, "five": 8}}})"));
  value_of(write_file_atomically(scratch / "chat_template.jinja",
                                 std::string("{% for m in messages %}{{ m.role }}: {{ m.content }} end {% endfor %}")));
  Bench bench;
  const files::ModelFiles files = testing::rollout_model_files({7});
  const engine::Model base = bench.load(files);
  RolloutConfig config;
  config.reward_funcs = {scratch.path().string()};
  RewardModels models;
  value_of(models.load(config, *bench.context, base, files));

  const text::Json chat = {{"prompt", text::Json::array({{{"role", "user"}, {"content", "two and two"}}})}},
                   plain = {{"prompt", "two and two "}};
  const std::vector<int32_t> prompt = {1, 2, 3}, sampled = {4, 5};  // the policy's tokens, which say nothing here
  const std::vector<rewards::Completion> completions = {{&chat, "is four", sampled, true, prompt},
                                                        {&chat, "is five", sampled, true, prompt},
                                                        {&plain, "is four", sampled, true, prompt}};
  const std::vector<double> scores = value_of(models.score(config.reward_funcs[0], completions));

  const std::vector<std::vector<int32_t>> read = {
      {1, 4, 5, 4, 3, 2, 6, 7, 3}, {1, 4, 5, 4, 3, 2, 6, 8, 3}, {4, 5, 4, 6, 7}};
  const files::ModelFiles own = value_of(files::open_model(scratch.path()));
  const engine::Role role = value_of(engine::role_of_model(*bench.context, "own", own, std::nullopt));
  engine::PolicyPass pass(*bench.context, "own", *role.model, 0, engine::PolicyPass::Keep::kOneLayer);
  const auto value_behind = [&](const std::vector<int32_t>& ids) {
    const std::span<const int32_t> all = ids;
    const engine::ValueGroup group{all.first(1), {all.subspan(1)}, {{static_cast<int64_t>(ids.size()) - 1}}};
    return static_cast<double>(pass.values(nullptr, *role.head, {&group, 1})[0]);
  };
  for (size_t i = 0; i < read.size(); ++i) EXPECT_EQ(scores[i], value_behind(read[i])) << i;
  EXPECT_NE(scores[0], scores[1]);
  EXPECT_NE(scores[0], value_behind({1, 2, 3, 4, 5}));  // of the policy's ids, which another vocabulary misreads

  std::string words;
  for (int i = 0; i < 128; ++i) words += "two ";
  const std::vector<rewards::Completion> longer = {{&plain, words, sampled, true, prompt}};
  EXPECT_EQ(models.score(config.reward_funcs[0], longer).error().message,
            fmt::format("{}: a prompt with its completion has 131 tokens for the reward model, which can hold 128.",
                        config.reward_funcs[0]));
}

}  // namespace
}  // namespace candor::recipes
