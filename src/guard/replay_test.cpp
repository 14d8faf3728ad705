#include "guard/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <tuple>

#include "guard/guard_testing.h"
#include "support/oracle.h"

namespace candor::guard {
namespace {

using namespace testing;  // candor::guard::testing: the courses
using files::Json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As a run writes its row: NaN is null.
Json row_of(const Step& at, const Guard& guard) {
  Json row = {{"step", at.step}, {"loss", at.update.loss}, {"grad_norm", at.update.grad_norm}};
  for (const auto* metrics : {&at.row, &at.signals})
    for (const auto& metric : *metrics) row[metric.name] = metric.value;
  for (const auto& metric : guard.metrics()) row[metric.name] = metric.value;
  row["sampling/max_abs_logprob_gap"] = at.update.max_gap;
  row["kl"] = 0.5;  // is not what the guard reads of a run of ours
  return Json::parse(row.dump());
}

TEST(Replay, DecidesAsTheRunDid) {
  for (const auto state : {learns, length_pays, flatters, verifier_has_a_hole}) {
    Guard live;
    std::vector<Json> rows;
    std::vector<Verdict> verdicts;
    for (const Step& at : course(state, 11, 80, 64, 2)) {
      verdicts.push_back(inspect(live, at));
      rows.push_back(row_of(at, live));
    }
    const auto replayed = replay(rows, {});
    ASSERT_TRUE(replayed) << replayed.error().message;
    ASSERT_EQ(replayed->verdicts.size(), verdicts.size());
    for (size_t i = 0; i < verdicts.size(); ++i) {
      EXPECT_EQ(replayed->verdicts[i].answer, verdicts[i].answer) << i;
      EXPECT_EQ(replayed->verdicts[i].reason, verdicts[i].reason) << i;
      EXPECT_EQ(replayed->verdicts[i].signals, verdicts[i].signals) << i;
    }
    EXPECT_EQ(guard_json(replayed->guard), guard_json(live));
  }
}

TEST(Replay, StepsBetweenGenerationsAreNoLooks) {
  Guard live;
  std::vector<Json> rows;
  for (const Step& at : course(learns, 1, 20)) {
    inspect(live, at);
    rows.push_back(row_of(at, live));
    rows.push_back({{"step", at.step}, {"loss", 0.1}, {"grad_norm", 1.0}, {"reward", 0.5}});
  }
  const auto replayed = replay(rows, {});
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->guard.memory().reward.looks, 20);
}

// What TRL 1.16's GRPOTrainer logs (trainer_state.json, log_history).
Json trl_row(int64_t step, double reward, double length, double kl) {
  return {{"loss", 0.01},     {"grad_norm", 0.4},
          {"reward", reward}, {"completions/mean_length", length},
          {"kl", kl},         {"rewards/correct/mean", reward},
          {"entropy", 1.0},   {"frac_reward_zero_std", 0.1},
          {"epoch", 0.1},     {"completions/clipped_ratio", 0.01},
          {"step", step}};
}

TEST(Replay, TrlsNames) {
  std::vector<Json> rows;
  for (int64_t step = 1; step <= 30; ++step)
    rows.push_back(trl_row(step, 0.5, step < 20 ? 80 + step % 3 : 200, 0.01 * static_cast<double>(step)));
  rows.push_back({{"step", 30}, {"eval_loss", 0.3}});
  rows.push_back({{"step", 30}, {"train_runtime", 12.5}});
  Options options;
  options.kl_budget = 30;  // per completion: 0.3 · 200 = 60 at the end
  const auto replayed = replay(rows, options);
  ASSERT_TRUE(replayed) << replayed.error().message;
  EXPECT_EQ(replayed->steps.size(), 30u);
  EXPECT_THAT(replayed->verdicts.back().signals, Contains("length_drift"));
  EXPECT_EQ(replayed->verdicts.back().answer, Answer::kStop);
  EXPECT_THAT(replayed->verdicts.back().reason, HasSubstr("nats per completion, above kl_budget 30"));
  EXPECT_THAT(replayed->missing, Contains("length_correlation (guard/length_correlation)"));
  EXPECT_THAT(replayed->missing, Contains("gold_falls, beyond_optimum (gold)"));
  EXPECT_THAT(replayed->missing, ::testing::Not(Contains("length_drift (completions/mean_length)")));
}

// The rows that TRL 1.16's trainers logged themselves (shared/golden/trajectories), as trainer_state.json has them.
std::vector<Json> logged_by_trl(const std::string& text) {
  std::vector<Json> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const Json step = Json::parse(line);
    Json row = step["metrics"];
    for (const char* name : {"step", "loss", "grad_norm"}) row[name] = step[name];
    rows.push_back(std::move(row));
  }
  return rows;
}

TEST(Replay, WhatTrlLogged) {
  for (const char* name : {"grpo_lora", "rloo_lora", "dpo_lora"}) {
    const auto path = candor::testing::golden(fmt::format("trajectories/{}/steps.jsonl", name));
    CANDOR_REQUIRE_FILE(path);
    const std::vector<Json> rows = logged_by_trl(candor::testing::read_text(path));
    const auto replayed = replay(rows, {});
    ASSERT_TRUE(replayed) << name << ": " << replayed.error().message;
    EXPECT_EQ(replayed->steps.size(), rows.size()) << name;
    const Memory& memory = replayed->guard.memory();
    EXPECT_EQ(memory.gradient.values.size(), rows.size()) << name;
    EXPECT_FALSE(replayed->missing.empty()) << name;
    if (std::string_view(name) == "dpo_lora") {
      EXPECT_EQ(memory.watches.at("likelihood_displacement").looks, static_cast<int64_t>(rows.size()));
      continue;
    }
    // Two steps train on a generation, and TRL logs its rewards in the first.
    int64_t generations = 0;
    double reward = 0, kl = 0;
    for (const Json& row : rows)
      if (row.contains("reward") && row["reward"].is_number()) {
        ++generations;
        reward = row["reward"].get<double>();
        if (row.contains("kl")) kl = row["kl"].get<double>() * row["completions/mean_length"].get<double>();
      }
    EXPECT_EQ(memory.watches.at("length_drift").looks, generations) << name;
    EXPECT_EQ(memory.reward.value, reward) << name;
    if (kl > 0) {
      EXPECT_EQ(memory.d, std::sqrt(kl)) << name;
    }
  }
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Whatever the guard warned of, over these rows.
std::vector<std::string> alarms_over(const std::vector<Json>& rows, const Thresholds& thresholds) {
  const auto replayed = replay(rows, {}, thresholds);
  EXPECT_TRUE(replayed) << replayed.error().message;
  std::vector<std::string> signals;
  for (const Alarm& alarm : replayed->guard.memory().alarms) signals.push_back(alarm.signal);
  return signals;
}

// What `candor quickstart --seed 1` logged. The reward rises within the control steps already, so that their band
// reaches up to nearly 1; completions become alike because they become right.
TEST(Replay, ARewardThatRoseWithinTheControlStepsHeals) {
  std::vector<Json> rows;
  for (const auto& [step, reward, unique, entropy, flat] : std::vector<std::tuple<int, double, double, double, double>>{
           {1, 0.0469, 0.984, 1.86, 0.75},   {2, 0.0781, 1, 1.91, 0.625},      {3, 0.0625, 1, 1.69, 0.75},
           {4, 0.0625, 1, 1.33, 0.5},        {5, 0.375, 0.953, 1.13, 0.375},   {6, 0.281, 0.906, 0.999, 0.25},
           {7, 0.562, 0.797, 0.595, 0},      {8, 0.5, 0.641, 0.402, 0.125},    {9, 0.422, 0.781, 0.473, 0.375},
           {10, 0.641, 0.609, 0.347, 0.5},   {11, 0.5, 0.5, 0.323, 1},         {12, 0.719, 0.359, 0.192, 0.75},
           {13, 0.531, 0.406, 0.201, 0.5},   {14, 0.5, 0.531, 0.241, 0.5},     {15, 0.781, 0.406, 0.183, 0.75},
           {16, 0.75, 0.328, 0.112, 0.625},  {17, 0.734, 0.328, 0.114, 0.625}, {18, 0.594, 0.266, 0.106, 0.625},
           {19, 0.938, 0.359, 0.112, 0.625}, {20, 0.703, 0.203, 0.0803, 0.75}})
    rows.push_back({{"step", step},
                    {"loss", 0.0},
                    {"reward", reward},
                    {"guard/repeated_ngram", 0.1},
                    {"guard/unique_completions", unique},
                    {"guard/entropy", entropy},
                    {"frac_reward_zero_std", flat}});
  EXPECT_THAT(alarms_over(rows, default_thresholds()), ::testing::IsEmpty());
  Thresholds twin = default_thresholds();
  twin.reward_gain = 1e9;  // the band of the control steps alone
  EXPECT_THAT(alarms_over(rows, twin), ElementsAre("unique_completions"));
}

// Of a run on models/tiny, whose right answers are short and, after 165 steps, no longer end: what stands behind them
// is cut off. Accuracy is the held-out reward, and stays where it was.
TEST(Replay, AHeldOutRewardAtItsBestHeals) {
  struct Row {
    int64_t step;
    double reward, gold, error, clipped, distinct, length;
  };
  std::vector<Json> rows;
  for (const Row& row : std::vector<Row>{{1, 0.312, 0.312, 0.188, 0.0312, 0.991, 7.94},
                                         {2, 0.625, kNaN, kNaN, 0, 0.957, 7.72},
                                         {3, 0.219, kNaN, kNaN, 0.0312, 1, 8.38},
                                         {4, 0.281, kNaN, kNaN, 0, 0.994, 8.41},
                                         {5, 0.594, kNaN, kNaN, 0, 1, 6.97},
                                         {6, 0.469, kNaN, kNaN, 0, 1, 6.78},
                                         {7, 0.438, kNaN, kNaN, 0, 1, 6.81},
                                         {8, 0.719, kNaN, kNaN, 0, 1, 8.59},
                                         {9, 0.594, kNaN, kNaN, 0, 1, 8.25},
                                         {10, 0.25, 0.25, 0.21, 0, 0.973, 6.94},
                                         {20, 0.969, 0.969, 0.0312, 0, 0.931, 8.69},
                                         {155, 1, kNaN, kNaN, 0, 1, 10.4},
                                         {156, 1, kNaN, kNaN, 0, 0.944, 10.4},
                                         {157, 0.969, kNaN, kNaN, 0, 0.966, 9.25},
                                         {158, 0.969, kNaN, kNaN, 0, 1, 10.9},
                                         {159, 0.906, kNaN, kNaN, 0, 1, 9.88},
                                         {160, 0.938, 0.938, 0.0435, 0.0312, 1, 10.8},
                                         {161, 0.938, kNaN, kNaN, 0.0312, 0.971, 10.5},
                                         {162, 0.906, kNaN, kNaN, 0.0312, 0.997, 10.4},
                                         {163, 1, kNaN, kNaN, 0.0312, 1, 10.3},
                                         {164, 0.969, kNaN, kNaN, 0, 1, 10.8},
                                         {165, 0.938, kNaN, kNaN, 0.125, 0.986, 11.1},
                                         {166, 0.906, kNaN, kNaN, 0, 0.994, 10.6},
                                         {167, 0.969, kNaN, kNaN, 0, 0.887, 10.5},
                                         {168, 0.938, kNaN, kNaN, 0.25, 0.916, 11.1},
                                         {169, 0.969, kNaN, kNaN, 0.75, 0.83, 11.9},
                                         {170, 1, 1, 0, 1, 0.903, 12},
                                         {171, 0.938, kNaN, kNaN, 0.938, 0.77, 12},
                                         {172, 1, kNaN, kNaN, 1, 0.818, 12},
                                         {173, 0.906, kNaN, kNaN, 1, 0.761, 12},
                                         {174, 0.875, kNaN, kNaN, 1, 0.815, 12},
                                         {175, 1, kNaN, kNaN, 1, 0.886, 12},
                                         {176, 1, kNaN, kNaN, 1, 0.884, 12},
                                         {177, 0.969, kNaN, kNaN, 1, 0.795, 12},
                                         {178, 0.969, kNaN, kNaN, 1, 0.847, 12},
                                         {179, 0.875, kNaN, kNaN, 1, 0.881, 12},
                                         {180, 0.906, 0.906, 0.0598, 1, 0.778, 12}}) {
    rows.push_back({{"step", row.step},
                    {"loss", 0.0},
                    {"reward", row.reward},
                    {"guard/repeated_ngram", 0.1},
                    {"guard/distinct_2", row.distinct},
                    {"completions/clipped_ratio", row.clipped},
                    {"completions/mean_length", row.length}});
    if (std::isnan(row.gold)) continue;
    rows.back()["gold"] = row.gold;
    rows.back()["gold/standard_error"] = row.error;
  }
  EXPECT_THAT(alarms_over(rows, default_thresholds()), ::testing::IsEmpty());
  Thresholds twin = default_thresholds();
  for (Rule& rule : twin.rules) rule.gold_heals = false;
  EXPECT_THAT(alarms_over(rows, twin), ElementsAre("truncated_share", "distinct_2"));
  // A held-out reward that has not risen, or has fallen from its best, is no evidence of health.
  for (const double gold : {0.28, 0.75}) {
    std::vector<Json> other = rows;
    for (Json& row : other) {
      if (!row.contains("gold")) continue;
      row["gold/standard_error"] = 0.02;
      if (row["step"] > (gold < 0.5 ? 10 : 100)) row["gold"] = gold;
    }
    EXPECT_THAT(alarms_over(other, default_thresholds()), Contains("truncated_share")) << gold;
  }
}

TEST(Replay, TrlsPairs) {
  std::vector<Json> rows;
  for (int64_t step = 1; step <= 40; ++step) {
    const double fall = step < 20 ? 0 : 40;
    rows.push_back({{"step", step},
                    {"loss", 0.6},
                    {"logps/chosen", -100 - fall},
                    {"logps/rejected", -110 - 2 * fall},
                    {"rewards/accuracies", 0.5},
                    {"rewards/margins", 0.1}});
  }
  const auto replayed = replay(rows, {});
  ASSERT_TRUE(replayed);
  EXPECT_THAT(replayed->verdicts.back().signals, ElementsAre("likelihood_displacement"));
  EXPECT_THAT(replayed->missing, ElementsAre("margin_length (guard/margin_length_correlation)", "gold_falls (gold)"));
}

TEST(Replay, ANullLossWasNotFinite) {
  std::vector<Json> rows = {{{"step", 1}, {"loss", nullptr}}, {{"step", 2}, {"loss", nullptr}}};
  auto replayed = replay(rows, {});
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->verdicts[1].answer, Answer::kSkip);
  rows.push_back({{"step", 3}, {"loss", nullptr}});
  replayed = replay(rows, {});
  ASSERT_TRUE(replayed);
  EXPECT_EQ(replayed->verdicts[2].answer, Answer::kStop);
}

TEST(Replay, HostileRowsAreNamed) {
  const auto message = [](const std::vector<Json>& rows) {
    const auto replayed = replay(rows, {});
    return replayed ? "" : replayed.error().message;
  };
  EXPECT_EQ(message({{{"step", 1}, {"loss", 1}}, Json::array({1})}), "[guard] row 2: expected a JSON object.");
  EXPECT_EQ(message({{{"loss", 1}}}), "[guard] row 1: expected a whole number \"step\".");
  EXPECT_EQ(message({{{"step", 1.5}, {"loss", 1}}}), "[guard] row 1: expected a whole number \"step\".");
  EXPECT_EQ(message({{{"step", 2}, {"loss", 1}}, {{"step", 1}, {"loss", 1}}}),
            "[guard] row 2: step 1 comes behind step 2. Rows must be in the order of their steps.");
  EXPECT_EQ(message({}), "[guard] none of the 0 rows has a loss, a reward or log-probabilities of pairs to look at.");
  EXPECT_EQ(message({{{"step", 1}, {"eval_loss", 1}}}),
            "[guard] none of the 1 rows has a loss, a reward or log-probabilities of pairs to look at.");
  // Numbers of another kind are not there; huge ones do no harm.
  EXPECT_EQ(message({{{"step", 1}, {"loss", "low"}, {"reward", {1, 2}}, {"guard/kl", 1e308}, {"gold", -1e308}},
                     {{"step", std::numeric_limits<int64_t>::max()}, {"loss", 1e308}, {"rewards//mean", 3}}}),
            "");
}

}  // namespace
}  // namespace candor::guard
