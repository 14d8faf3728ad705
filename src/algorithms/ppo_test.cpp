// PPO against TRL 1.12: every case of golden/losses/ppo.json from scores to gradients, ppo_pieces.json, worked numbers,
// and twins that the cases reject.
#include "algorithms/ppo.h"

#include <gtest/gtest.h>

#include <functional>

#include "algorithms/golden_numbers.h"
#include "algorithms/kl.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

// A case without its padding, and where each of our numbers stands in TRL's [B,T].
struct PpoCase {
  size_t n, width;
  std::vector<int64_t> token_offsets = {0}, value_offsets = {0};
  std::vector<size_t> token_places, value_places;
  std::vector<double> logprobs, old_logprobs, reference, values, old_values, scores;
  std::vector<uint8_t> ended;
  PpoRewardOptions reward;
  PpoOptions options;
  double gamma, lambda;
  bool whiten_rewards, whiten_advantages = true, score_on_last_token = false;
  size_t micro_batches;

  explicit PpoCase(const json& c) {
    const json &in = c["inputs"], &config = c["config"];
    n = in["logprobs"]["shape"][0], width = in["logprobs"]["shape"][1];
    const auto lengths = tensor(in, "response_lengths");
    for (size_t i = 0; i < n; ++i) {
      const auto length = static_cast<size_t>(lengths[i]);
      for (size_t t = 0; t < length; ++t) token_places.push_back(i * width + t);
      for (size_t t = 0; t < std::min(length + 1, width); ++t) value_places.push_back(i * width + t);
      token_offsets.push_back(static_cast<int64_t>(token_places.size()));
      value_offsets.push_back(static_cast<int64_t>(value_places.size()));
    }
    for (auto [name, to] :
         {std::pair{"logprobs", &logprobs}, {"old_logprobs", &old_logprobs}, {"reference_logprobs", &reference}})
      *to = picked(tensor(in, name), token_places);
    for (auto [name, to] : {std::pair{"values", &values}, {"old_values", &old_values}})
      *to = picked(tensor(in, name), value_places);
    scores = tensor(in, "scores");
    for (double e : tensor(in, "contains_eos")) ended.push_back(e != 0);
    const json& penalty = config["missing_eos_penalty"];
    reward = {config["kl_coef"], config["kl_estimator"] == "k3", penalty.is_null() ? 0.0 : penalty.get<double>()};
    options = {config["cliprange"], config["cliprange_value"], config["vf_coef"]};
    gamma = config["gamma"], lambda = config["lam"];
    whiten_rewards = config["whiten_rewards"];
    micro_batches = config["micro_batches"];
  }
  static std::vector<double> picked(const std::vector<double>& all, const std::vector<size_t>& places) {
    std::vector<double> out;
    for (size_t place : places) out.push_back(all[place]);
    return out;
  }
  PpoRows rows() const { return {{token_offsets, {}}, {value_offsets, {}}}; }
};

// Our numbers, put back into [B,T] with 0 elsewhere.
std::vector<double> spread_out(const std::vector<double>& ours, const std::vector<size_t>& places, size_t size) {
  std::vector<double> theirs(size, 0.0);
  for (size_t i = 0; i < ours.size(); ++i) theirs[places[i]] = ours[i];
  return theirs;
}

std::string mismatch(const json& c, const PpoCase& p) {
  const json &out = c["outputs"], &between = out["intermediates"];
  Comparison compare{c};
  const auto in_place = [&](const std::string& name, const std::vector<double>& ours, const std::vector<size_t>& places,
                            const json& from) {
    auto want = tensor(from, name);  // ours has nothing behind a response; TRL's numbers there do not matter
    compare.list_is(name, ours, PpoCase::picked(want, places));
  };
  PpoRewards rewards = ppo_rewards(p.rows(), p.old_logprobs, p.reference, p.scores, p.ended, p.reward);
  if (p.score_on_last_token)
    for (size_t i = 0; i < p.n; ++i)
      if (p.rows().values.counted(i) > p.rows().tokens.counted(i))
        std::swap(rewards.rewards[p.rows().values.end(i) - 1], rewards.rewards[p.rows().values.end(i) - 2]);
  compare.list_is("scores_after_penalty", rewards.scores, tensor(between, "scores_after_penalty"));
  if (p.whiten_rewards) rewards.rewards = whitened(rewards.rewards, true);
  in_place("rewards", rewards.rewards, p.value_places, between);
  const PpoAdvantages advantages = gae(p.rows(), rewards.rewards, p.old_values, p.gamma, p.lambda);
  in_place("advantages", advantages.advantages, p.token_places, between);
  in_place("returns", advantages.returns, p.value_places, between);
  const auto white = p.whiten_advantages ? whitened(advantages.advantages) : advantages.advantages;
  in_place("advantages_whitened", white, p.token_places, between);

  std::vector<PpoRow> rows;
  std::vector<double> d_logprobs, d_values;
  double loss = 0;
  const size_t block = p.n / p.micro_batches;
  for (size_t first = 0; first < p.n; first += block) {
    const PpoRows all = p.rows(), part{all.tokens.slice(first, block), all.values.slice(first, block)};
    const auto tokens = [&](const std::vector<double>& v) {
      return all.tokens.tokens_of(std::span<const double>(v), first, block);
    };
    const auto places = [&](const std::vector<double>& v) {
      return all.values.tokens_of(std::span<const double>(v), first, block);
    };
    const PpoLoss of_part = ppo_loss({part, tokens(p.logprobs), tokens(p.old_logprobs), tokens(white), places(p.values),
                                      places(p.old_values), places(advantages.returns)},
                                     p.options);
    loss += of_part.loss(p.options.vf_coef);
    rows.insert(rows.end(), of_part.rows.begin(), of_part.rows.end());
    d_logprobs.insert(d_logprobs.end(), of_part.d_logprobs.begin(), of_part.d_logprobs.end());
    d_values.insert(d_values.end(), of_part.d_values.begin(), of_part.d_values.end());
  }
  compare.number_is("loss", loss, number(out["loss"]));
  compare.list_is("d_logprobs", spread_out(d_logprobs, p.token_places, p.n * p.width),
                  tensor(out["gradients"], "logprobs"));
  compare.list_is("d_values", spread_out(d_values, p.value_places, p.n * p.width), tensor(out["gradients"], "values"));
  if (p.micro_batches > 1) return compare.wrong;  // TRL's metrics are means of means there
  const Metrics metrics = ppo_metrics(rows);
  for (const Metric& metric : metrics)
    if (metric.name != "policy/approxkl_avg" && !metric.name.starts_with("val/ratio"))  // over TRL's padding, too
      compare.number_is(metric.name, metric.value, number(out["metrics"][metric.name]));
  double kl = 0;
  for (double of_row : rewards.kl) kl += of_row / static_cast<double>(p.n);
  compare.number_is("objective/kl", kl, number(out["metrics"]["objective/kl"]));
  return compare.wrong;
}

TEST(PpoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/ppo.json"));
  const auto cases = golden_cases("ppo.json");
  EXPECT_EQ(cases.size(), 18u);
  const std::vector<std::pair<std::string, std::function<void(PpoCase&)>>> twins{
      {"the score on the last token", [](PpoCase& p) { p.score_on_last_token = true; }},
      {"advantages not whitened", [](PpoCase& p) { p.whiten_advantages = false; }},
      {"rewards not whitened", [](PpoCase& p) { p.whiten_rewards = false; }},
      {"k1 for k3", [](PpoCase& p) { p.reward.k3 = false; }},
      {"no penalty for a missing stop token", [](PpoCase& p) { p.reward.missing_eos_penalty = 0; }},
      {"lambda", [](PpoCase& p) { p.lambda *= 0.9; }},
      {"gamma", [](PpoCase& p) { p.gamma *= 0.9; }},
      {"the value not clipped", [](PpoCase& p) { p.options.cliprange_value = 1e9; }},
      {"the ratio not clipped", [](PpoCase& p) { p.options.cliprange = 1e9; }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    EXPECT_EQ(mismatch(c, PpoCase(c)), "");
    for (const auto& [name, break_it] : twins) {
      PpoCase twin(c);
      break_it(twin);
      rejected[name] += !mismatch(c, twin).empty();
    }
  }
  for (const auto& [name, count] : rejected) EXPECT_GT(count, 0) << name;
}

TEST(PpoGolden, WhiteningAndTheAdaptiveKlAlone) {
  CANDOR_REQUIRE_FILE(golden("losses/ppo_pieces.json"));
  int ran = 0;
  for (const json& c : golden_cases("ppo_pieces.json")) {
    ++ran;
    Comparison compare{c};
    if (c["config"].contains("shift_mean")) {
      const auto all = tensor(c["inputs"], "values"), mask = tensor(c["inputs"], "mask"),
                 want = tensor(c["outputs"], "whitened");
      std::vector<size_t> counted;
      for (size_t i = 0; i < mask.size(); ++i)
        if (mask[i] != 0) counted.push_back(i);
      const bool keep_mean = !c["config"]["shift_mean"].get<bool>();
      compare.list_is("whitened", whitened(PpoCase::picked(all, counted), keep_mean), PpoCase::picked(want, counted));
    } else {
      double value = c["config"]["init_kl_coef"];
      for (const json& step : c["outputs"]["steps"]) {
        value =
            adapted_kl_coefficient(value, step["kl"], c["config"]["target"], step["n_steps"], c["config"]["horizon"]);
        compare.number_is("value_after", value, step["value_after"]);
      }
    }
    EXPECT_EQ(compare.wrong, "");
  }
  EXPECT_EQ(ran, 7);
}

// γ 0.9, λ 0.95, values = rewards = (0, 0, 0, 1): δ = (0, 0, 0.9, 0), so A = (0.855²·0.9, 0.855·0.9, 0.9, 0), and the
// returns are A + V.
TEST(Ppo, GaeOnPaper) {
  const std::vector<int64_t> offsets = {0, 4};
  const std::vector<double> numbers = {0, 0, 0, 1};
  const PpoAdvantages out = gae({{offsets, {}}, {offsets, {}}}, numbers, numbers, 0.9, 0.95);
  const std::vector<double> returns = {0.855 * 0.855 * 0.9, 0.855 * 0.9, 0.9, 1};
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(out.returns[t], returns[t], 1e-15);  // three roundings below 1
  EXPECT_NEAR(out.advantages[3], 0, 1e-15);
}

TEST(Ppo, WhiteningOfNumbersThatAreTheSameIsZero) {
  EXPECT_EQ(whitened(std::vector<double>(3, 0.1)), std::vector<double>(3, 0.0));
  EXPECT_EQ(whitened(std::vector<double>{7.0}), std::vector<double>{0.0});
  EXPECT_EQ(whitened(std::vector<double>(3, 0.1), true), std::vector<double>(3, 0.1));
  EXPECT_TRUE(whitened({}).empty());
}

// One token, A = 1, ρ = 2 is cut at 1.2; one value, 1 above the return and 0.5 above its clip.
TEST(Ppo, LossOnPaper) {
  const std::vector<int64_t> offsets = {0, 1};
  const std::vector<double> logprob = {std::log(2.0)}, zero = {0}, one = {1}, half = {0.5};
  const PpoLoss loss = ppo_loss({{{offsets, {}}, {offsets, {}}}, logprob, zero, one, one, half, zero}, {0.2, 0.2, 0.1});
  EXPECT_NEAR(loss.rows[0].policy_loss, -1.2, 1e-15);  // the bound itself
  EXPECT_EQ(loss.d_logprobs[0], 0);
  EXPECT_NEAR(loss.rows[0].value_loss, 0.5, 1e-15);  // ½·max(1², 0.7²)
  EXPECT_NEAR(loss.d_values[0], 0.1, 1e-15);
  EXPECT_EQ(loss.rows[0].clipped, 1);
  EXPECT_EQ(loss.rows[0].clipped_values, 0);
}

}  // namespace
}  // namespace candor::algorithms::testing
