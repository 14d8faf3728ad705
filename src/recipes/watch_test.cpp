// The guard in the loops of the recipes that sample (GRPO, PPO) and of those on given rows: it changes no weight, a
// held-out reward trains nothing, a run that it stopped can go on as if nobody had looked, and steps that it skips move
// nothing.
#include "recipes/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <set>

#include "recipes/grpo.h"
#include "recipes/ppo.h"
#include "recipes/preference_config.h"
#include "recipes/rollout_testing.h"
#include "recipes/supervised.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::read_text;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using nlohmann::json;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int64_t kSteps = 8;

void set_common(RolloutConfig& config, const fs::path& output) {
  config.output_dir = output.string();
  config.use_peft = true;
  config.lora_r = 4;
  config.lora_alpha = 8;
  config.max_steps = kSteps;
  config.gradient_shards = 2;
  config.max_completion_length = 6;
  config.learning_rate = 0.02;
  config.lr_scheduler_type = "constant";
  config.temperature = 1.0;
  config.reward_funcs = {"low"};
  config.save_strategy = "steps";
  config.save_steps = 2;
  config.seed = 5;
  config.guard.guard_control_steps = 3;
}

template <typename Config>
Config small_config(const fs::path& output);

// A generation serves two steps.
template <>
GrpoConfig small_config<GrpoConfig>(const fs::path& output) {
  GrpoConfig config;
  set_common(config, output);
  config.num_generations = 4;
  config.per_device_train_batch_size = 8;
  config.num_iterations = 2;
  config.beta = 0.01;
  return config;
}

template <>
PpoConfig small_config<PpoConfig>(const fs::path& output) {
  PpoConfig config;
  set_common(config, output);
  config.per_device_train_batch_size = 8;
  config.num_ppo_epochs = 2;
  return config;
}

// So many that a third of the completions ends by itself.
std::vector<int32_t> stops() {
  std::vector<int32_t> ids(20);
  std::iota(ids.begin(), ids.end(), 20);
  return ids;
}

// The opposite of what is trained on.
rewards::Reward high_ids() {
  return {
      "high",
      [score = testing::low_ids().score](std::span<const rewards::Completion> completions) -> Result<rewards::Scores> {
        rewards::Scores scores = TRY(score(completions));
        for (auto& one : scores) one = 1 - *one;
        return scores;
      },
      {}};
}

auto start_of(const GrpoConfig& config, const Bench& bench, const engine::Model& model, const files::ModelFiles&,
              const data::PromptSet& prompts) {
  return start_grpo(config, *bench.context, model, prompts);
}
auto start_of(const PpoConfig& config, const Bench& bench, const engine::Model& model, const files::ModelFiles& files,
              const data::PromptSet& prompts) {
  return start_ppo(config, *bench.context, model, files, prompts);
}
auto run_of(const GrpoConfig& config, RolloutParts parts, GrpoStart start) {
  return run_grpo(config, std::move(parts), std::move(start));
}
auto run_of(const PpoConfig& config, RolloutParts parts, PpoStart start) {
  return run_ppo(config, std::move(parts), std::move(start));
}

struct Ended {
  GuardReport guard;
  bool interrupted = false;
  int64_t steps = 0;
  std::vector<std::string> said;
};

// A run, or what is left of one, with everything loaded anew. stop: it is interrupted after so many steps.
template <typename Config>
Result<Ended> run(Config config, const rewards::Reward& gold = high_ids(), int64_t stop = 1000,
                  std::function<std::vector<double>()> disagreement = {}) {
  Bench bench(2);
  const files::ModelFiles files = testing::rollout_model_files(stops());
  const engine::Model model = bench.load(files);
  fs::create_directories(config.output_dir);
  const data::PromptSet prompts = testing::random_prompts(6, 5);
  auto start = TRY(start_of(config, bench, model, files, prompts));
  int64_t done = 0;
  Ended ended;
  RolloutParts parts{.context = *bench.context,
                     .model = model,
                     .tokenizer = *files.tokenizer,
                     .prompts = prompts,
                     .rewards = {testing::low_ids()},
                     .gold = {gold},
                     .disagreement = std::move(disagreement),
                     .recipe_yaml = "",
                     .evaluate = {},
                     .report = [&](const StepReport& report) { done = report.step; },
                     .doing = {},
                     .interrupted = [&] { return done >= stop; },
                     .say = [&](const std::string& line) { ended.said.push_back(line); }};
  auto result = TRY(run_of(config, std::move(parts), std::move(start)));
  ended.guard = std::move(result.guard);
  ended.interrupted = result.interrupted;
  ended.steps = result.steps;
  return ended;
}

template <typename Config>
std::vector<json> rows_of(const Config& config) {
  return candor::testing::json_lines(fs::path(config.output_dir) / "metrics.jsonl");
}

template <typename Config>
std::string adapter_of(const Config& config, const std::string& folder = "final") {
  return read_text(fs::path(config.output_dir) / folder / "adapter_model.safetensors");
}

const char* state_file(const GrpoConfig&) {
  return "grpo_state.json";
}
const char* state_file(const PpoConfig&) {
  return "ppo_state.json";
}

// All that a run leaves, but for times: what its guard remembers, too.
template <typename Config>
std::string left_by(const Config& config) {
  const fs::path folder = config.output_dir;
  std::string all = adapter_of(config) + read_text(folder / "completions.jsonl") +
                    read_text(folder / fmt::format("checkpoint-{}", kSteps) / state_file(config));
  for (json row : rows_of(config)) {
    row.erase("step_time");
    all += row.dump() + "\n";
  }
  return all;
}

template <typename Config>
class Guarded : public ::testing::Test {
 protected:
  Config config(const std::string& name) const { return small_config<Config>(scratch / name); }
  ScratchFolder scratch;
};
using Recipes = ::testing::Types<GrpoConfig, PpoConfig>;
class Names {
 public:
  template <typename Config>
  static std::string GetName(int) {
    return std::is_same_v<Config, PpoConfig> ? "Ppo" : "Grpo";
  }
};
TYPED_TEST_SUITE(Guarded, Recipes, Names);

TYPED_TEST(Guarded, MovesNoWeight) {
  auto off = this->config("off"), on = this->config("on"), gold = this->config("gold");
  off.guard.guard = "off";
  value_of(run(off));
  value_of(run(on));
  gold.guard.guard = "warn";
  gold.gold_reward_funcs = {"high"};
  gold.gold_steps = 4;
  value_of(run(gold));
  EXPECT_EQ(adapter_of(on), adapter_of(off));
  EXPECT_EQ(adapter_of(gold), adapter_of(off));

  const std::vector<json> without = rows_of(off), with = rows_of(on), measured = rows_of(gold);
  ASSERT_EQ(with.size(), static_cast<size_t>(kSteps));
  for (size_t i = 0; i < with.size(); ++i) {
    json stripped = with[i];
    std::vector<std::string> own;
    for (const auto& [name, value] : with[i].items())
      if (name.starts_with("guard/") || name.starts_with("gold")) own.push_back(name);
    for (const std::string& name : own) stripped.erase(name);
    stripped["step_time"] = without[i]["step_time"];
    EXPECT_EQ(stripped, without[i]) << i;
    EXPECT_EQ(with[i].at("guard/skipped"), 0);
    EXPECT_EQ(with[i].contains("guard/distinct_2"), i % 2 == 0) << i;  // at a generation's first use
    // Half of the steps use a generation that another policy sampled.
    EXPECT_EQ(with[i].at("guard/max_log_ratio").template get<double>() > 0, i % 2 == 1) << i;
    for (const char* unmeasured : {"gold", "guard/paid_wrong", "guard/gold_correlation", "guard/hollow_format",
                                   "guard/ensemble_disagreement", "guard/kl_exact"})
      EXPECT_FALSE(with[i].contains(unmeasured)) << unmeasured;
    // Generations serve steps 1 and 2, 3 and 4, …: the first, and those of steps 4 and 8.
    const bool due = i == 0 || i == 2 || i == 6;
    EXPECT_EQ(measured[i].contains("gold") && !measured[i]["gold"].is_null(), due) << i;
    if (!due) continue;
    EXPECT_NEAR(measured[i]["gold"].template get<double>(), 1 - measured[i]["reward"].template get<double>(), 1e-12);
  }
  const auto completions = candor::testing::json_lines(fs::path(gold.output_dir) / "completions.jsonl");
  EXPECT_EQ(completions[0].at("gold").get<double>(), 1 - completions[0].at("reward").get<double>());
}

TYPED_TEST(Guarded, AnInterruptedRunEndsInTheSameBytes) {
  auto whole = this->config("whole");
  whole.guard.guard = "warn";
  whole.gold_reward_funcs = {"high"};
  whole.gold_steps = 2;
  value_of(run(whole));
  for (const int64_t stop : {1, 2, 5}) {
    auto config = whole;
    config.output_dir = (this->scratch / fmt::format("stopped {}", stop)).string();
    EXPECT_TRUE(value_of(run(config, high_ids(), stop)).interrupted);
    config.resume_from_checkpoint = "true";
    EXPECT_FALSE(value_of(run(config)).interrupted);
    EXPECT_EQ(left_by(config), left_by(whole)) << stop;
  }
}

// Of a reward ensemble's members, as the rewards' own parts show it; part of a checkpoint between two uses.
TYPED_TEST(Guarded, SeesHowFarAnEnsembleIsApart) {
  auto whole = this->config("whole"), config = this->config("stopped");
  int64_t scored = 0;
  const auto apart = [&scored] {
    std::vector<double> rows(8, 0.5);
    rows[0] = static_cast<double>(++scored);
    return rows;
  };
  value_of(run(whole, high_ids(), 1000, apart));
  const std::vector<json> rows = rows_of(whole);
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i].contains("guard/ensemble_disagreement"), i % 2 == 0) << i;
    if (i % 2 == 0) {
      EXPECT_EQ(rows[i]["guard/ensemble_disagreement"], (7 * 0.5 + static_cast<double>(i) / 2 + 1) / 8) << i;
    }
  }
  scored = 0;
  EXPECT_TRUE(value_of(run(config, high_ids(), 3, apart)).interrupted);
  config.resume_from_checkpoint = "true";
  value_of(run(config, high_ids(), 1000, apart));
  EXPECT_EQ(left_by(config), left_by(whole));
}

// Where save_steps asks for none, the guard's own checkpoints are what a Stop goes back to.
TYPED_TEST(Guarded, AStopOfAShortRunHasAGoodCheckpoint) {
  auto config = this->config("run");
  config.save_steps = 500;
  config.guard.guard_control_steps = 2;
  config.guard.kl_budget = 0.05;  // which this learning rate passes in a few steps
  const Ended ended = value_of(run(config));
  ASSERT_THAT(ended.guard.stopped, HasSubstr("kl_budget"));
  EXPECT_GE(ended.guard.good_step, 2);
  EXPECT_EQ(ended.guard.good_step % 2, 0);
  EXPECT_EQ(adapter_of(config), adapter_of(config, fmt::format("checkpoint-{}", ended.guard.good_step)));
}

TYPED_TEST(Guarded, AStopKeepsTheGoodCheckpointAndCanGoOn) {
  auto undisturbed = this->config("undisturbed"), config = this->config("stopped");
  for (auto* one : {&undisturbed, &config}) {
    one->guard.kl_budget = 0.05;  // which this learning rate passes in a few steps
    one->gold_reward_funcs = {"high"};
    one->gold_steps = 1;
    one->save_total_limit = 1;
  }
  undisturbed.guard.guard = "warn";
  const Ended all = value_of(run(undisturbed));
  EXPECT_EQ(all.steps, kSteps);
  EXPECT_EQ(all.guard.stopped, "");
  EXPECT_THAT(all.said, ::testing::Contains(HasSubstr("kl_budget")));

  const Ended ended = value_of(run(config));
  EXPECT_THAT(ended.guard.stopped, HasSubstr("kl_budget"));
  ASSERT_GE(ended.steps, 2);
  ASSERT_LT(ended.steps, kSteps);
  const fs::path folder = config.output_dir;
  const json last = rows_of(config).back();
  EXPECT_EQ(last["step"], ended.steps + 1);  // which was not taken
  EXPECT_EQ(last["guard/stopped"], 1);
  EXPECT_TRUE(fs::exists(folder / fmt::format("checkpoint-{}", ended.steps)));
  ASSERT_GT(ended.guard.good_step, 0);
  const std::string good = fmt::format("checkpoint-{}", ended.guard.good_step);
  EXPECT_TRUE(fs::exists(folder / good));  // save_total_limit or not
  EXPECT_EQ(adapter_of(config), adapter_of(config, good));

  config.resume_from_checkpoint = "true";
  const auto refused = run(config);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr(fmt::format("before step {}: ", ended.steps + 1)));
  EXPECT_THAT(refused.error().message, HasSubstr("--guard warn"));
  config.guard.guard = "warn";
  EXPECT_EQ(value_of(run(config)).steps, kSteps);
  EXPECT_EQ(left_by(config), left_by(undisturbed));
}

TYPED_TEST(Guarded, AStopBeforeAnyCheckpointWritesNoFinal) {
  auto config = this->config("run");
  config.guard.kl_budget = 0.001;
  config.save_strategy = "no";
  const Ended ended = value_of(run(config));
  EXPECT_NE(ended.guard.stopped, "");
  EXPECT_EQ(ended.guard.good_step, 0);
  EXPECT_FALSE(fs::exists(fs::path(config.output_dir) / "final"));
}

TYPED_TEST(Guarded, AHeldOutRewardThatFailsLosesNoStep) {
  auto whole = this->config("whole"), config = this->config("failed");
  for (auto* one : {&whole, &config}) {
    one->guard.guard = "warn";
    one->gold_reward_funcs = {"high"};
    one->gold_steps = 1;
    one->save_strategy = "no";  // but where it fails, and at its end
  }
  value_of(run(whole));
  int calls = 0;
  const rewards::Reward dies = {"high",
                                [&](std::span<const rewards::Completion> completions) -> Result<rewards::Scores> {
                                  if (++calls == 3) return error("the scorer has died.");
                                  return high_ids().score(completions);
                                },
                                {}};
  const auto failed = run(config, dies);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("gold_reward_funcs: "));
  EXPECT_THAT(failed.error().message, HasSubstr("the scorer has died. The 4 steps before are saved"));
  config.resume_from_checkpoint = "true";
  EXPECT_EQ(value_of(run(config)).steps, kSteps);
  EXPECT_EQ(left_by(config), left_by(whole));
}

TYPED_TEST(Guarded, AHeldOutRewardThatSaysNothingIsNamed) {
  auto config = this->config("run");
  config.gold_reward_funcs = {"high"};
  const rewards::Reward silent = {"high",
                                  [](std::span<const rewards::Completion> completions) {
                                    return Result<rewards::Scores>(rewards::Scores(completions.size()));
                                  },
                                  {}};
  const Ended ended = value_of(run(config, silent));
  EXPECT_EQ(ended.steps, kSteps);
  EXPECT_THAT(ended.said, ::testing::Contains(HasSubstr("step 1: the held-out reward abstained on every completion")));
  EXPECT_TRUE(rows_of(config).front().at("gold").is_null());
}

// A recipe on given rows whose loss is not finite at some steps.
struct Rows {
  Bench bench{2};
  files::ModelFiles files = testing::rollout_model_files(stops());
  engine::Model model = bench.load(files);

  Result<SupervisedResult> run(const TrainingConfig& config, const std::set<int64_t>& broken) {
    fs::create_directories(config.output_dir);
    SupervisedTask task;
    task.recipe = "rows";
    task.accumulate = [&](std::span<const int64_t>, const StepContext& step) -> Result<SupervisedStep> {
      step.shards.reduce(*bench.context, [&](int64_t shard, float* gradients) {
        if (shard == 0) gradients[0] += 1;
      });
      SupervisedStep made;
      made.loss = broken.contains(step.state.step + 1) ? std::numeric_limits<double>::quiet_NaN() : 1.0;
      made.tokens = 1;
      return made;
    };
    SupervisedStart start = TRY(start_supervised(config, *bench.context, model, files, 4, "rows"));
    return run_supervised(config, {.context = *bench.context, .model = model}, task, std::move(start));
  }
};

PreferenceConfig rows_config(const fs::path& output) {
  PreferenceConfig config;
  config.output_dir = output.string();
  config.use_peft = true;
  config.lora_r = 4;
  config.max_steps = 6;
  config.gradient_shards = 1;
  config.learning_rate = 0.01;
  config.lr_scheduler_type = "constant";
  config.save_steps = 1;
  config.save_total_limit = std::nullopt;
  return config;
}

TEST(GuardedRows, ASkippedStepMovesNothing) {
  const ScratchFolder scratch;
  Rows rows;
  const PreferenceConfig config = rows_config(scratch / "run");
  const SupervisedResult result = value_of(rows.run(config, {3, 4}));
  EXPECT_EQ(result.steps, 6);
  const std::vector<json> metrics = rows_of(config);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(metrics[i].at("guard/skipped"), i == 2 || i == 3 ? 1 : 0) << i;
  EXPECT_TRUE(metrics[2]["loss"].is_null());
  EXPECT_NE(adapter_of(config, "checkpoint-2"), adapter_of(config, "checkpoint-1"));
  EXPECT_EQ(adapter_of(config, "checkpoint-4"), adapter_of(config, "checkpoint-2"));
  EXPECT_NE(adapter_of(config, "checkpoint-5"), adapter_of(config, "checkpoint-4"));
}

TEST(GuardedRows, ThreeBrokenStepsRunningStopTheRun) {
  const ScratchFolder scratch;
  Rows rows;
  PreferenceConfig config = rows_config(scratch / "run");
  const SupervisedResult result = value_of(rows.run(config, {3, 4, 5}));
  EXPECT_THAT(result.guard.stopped, HasSubstr("in 3 steps running"));
  EXPECT_EQ(result.steps, 4);
  EXPECT_EQ(result.guard.good_step, 2);
  EXPECT_EQ(adapter_of(config), adapter_of(config, "checkpoint-2"));
  EXPECT_EQ(rows_of(config).size(), 5u);
  config.resume_from_checkpoint = "true";
  EXPECT_THAT(rows.run(config, {}).error().message, HasSubstr("[rows] the guard ended the run"));
  config.guard.guard = "warn";
  EXPECT_EQ(value_of(rows.run(config, {})).steps, 6);
}

// Where the guard may not skip, a step that is not finite ends the run before it moves a weight.
TEST(GuardedRows, WithoutTheGuardABrokenStepIsAnError) {
  for (const char* guard : {"warn", "off"}) {
    const ScratchFolder scratch;
    Rows rows;
    PreferenceConfig config = rows_config(scratch / "run");
    config.guard.guard = guard;
    EXPECT_THAT(rows.run(config, {3}).error().message, HasSubstr("[rows] step 3: the loss is nan")) << guard;
  }
}

TEST(Verdicts, JoinToTheGraverOne) {
  const guard::Verdict skip{guard::Answer::kSkip, "A.", {"a"}}, warning{guard::Answer::kProceed, "B.", {"b"}};
  for (const guard::Verdict& both : {joined(skip, warning), joined(warning, skip)}) {
    EXPECT_EQ(both.answer, guard::Answer::kSkip);
    EXPECT_THAT(both.reason, ::testing::AnyOf("A. B.", "B. A."));
    EXPECT_EQ(both.signals.size(), 2u);
  }
}

TEST(WidestLogRatio, IsOfCountedTokensAndNotKnownWhereOneIsNot) {
  const std::vector<int64_t> offsets = {0, 2, 3};
  const std::vector<uint8_t> mask = {1, 1, 0};
  std::vector<double> now = {-1, -2.5, -9}, old = {-1.5, -1, -1};
  EXPECT_EQ(widest_log_ratio({offsets, mask}, now, old), 1.5);
  EXPECT_EQ(widest_log_ratio({offsets, {}}, now, old), 8);
  now[0] = std::nan("");
  EXPECT_TRUE(std::isnan(widest_log_ratio({offsets, mask}, now, old)));
}

}  // namespace
}  // namespace candor::recipes
