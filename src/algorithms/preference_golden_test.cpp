// The other losses on pairs against TRL: every case of golden/losses/cpo_simpo.json, tpo.json, orpo.json,
// online_dpo.json and xpo_nash_md.json, with twins that they reject.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "algorithms/cpo.h"
#include "algorithms/dpo.h"
#include "algorithms/golden_numbers.h"
#include "algorithms/online_preference.h"
#include "algorithms/sft.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

// How many cases reject a twin.
template <typename Case, typename Mismatch>
int rejections(const std::vector<json>& cases, const std::function<void(Case&)>& break_it, const Mismatch& mismatch) {
  int rejected = 0;
  for (const json& c : cases) {
    Case twin(c);
    break_it(twin);
    rejected += !mismatch(c, twin).empty();
  }
  return rejected;
}

struct CpoCase {
  PaddedRows rows;
  std::vector<double> logprobs;
  CpoOptions options;

  explicit CpoCase(const json& c)
      : rows(c["inputs"]["mask"], pair_order(c["inputs"]["mask"]["shape"][0].get<size_t>() / 2)) {
    const json& config = c["config"];
    logprobs = rows.in_order(tensor(c["inputs"], "logprobs"));
    static const std::map<std::string, CpoType> types{
        {"sigmoid", CpoType::kSigmoid}, {"hinge", CpoType::kHinge}, {"ipo", CpoType::kIpo}, {"simpo", CpoType::kSimpo}};
    options = {types.at(config["loss_type"]), config["beta"],        config["label_smoothing"],
               config["cpo_alpha"],           config["simpo_gamma"], config["alpha"]};
  }
  PreferenceInputs inputs() const { return {rows.rows(), logprobs, {}}; }
};

std::string cpo_mismatch(const json& c, const CpoCase& ours) {
  const auto loss = cpo_loss(ours.inputs(), ours.options);
  if (!loss) return loss.error().message;
  Comparison compare{c};
  compare.number_is("loss", loss->loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", ours.rows.back(loss->d_logprobs), tensor(c["outputs"]["gradients"], "logprobs"));
  Metrics metrics = preference_metrics(loss->pairs, {}, loss->parts);
  if (ours.options.cpo_alpha == 0) metrics.push_back({"nll_loss", 0});  // TRL's log says 0
  compare.metrics_are(metrics, c["outputs"]["metrics"]);
  return compare.wrong;
}

TEST(CpoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/cpo_simpo.json"));
  const auto cases = golden_cases("cpo_simpo.json");
  EXPECT_EQ(cases.size(), 13u);
  for (const json& c : cases) EXPECT_EQ(cpo_mismatch(c, CpoCase(c)), "");
  const std::vector<std::pair<std::string, std::function<void(CpoCase&)>>> twins{
      {"cpo_alpha", [](CpoCase& c) { c.options.cpo_alpha = 0; }},
      {"gamma outside beta", [](CpoCase& c) { c.options.simpo_gamma *= c.options.beta; }},
      {"label_smoothing", [](CpoCase& c) { c.options.label_smoothing = 0; }},
      {"alpha", [](CpoCase& c) { c.options.alpha = 0; }},
      {"sums for means", [](CpoCase& c) { c.options.type = CpoType::kSigmoid; }},
  };
  for (const auto& [name, twin] : twins) EXPECT_GT(rejections<CpoCase>(cases, twin, cpo_mismatch), 0) << name;
}

// TPO is CPO's pair part and the likelihood of the gold rows.
TEST(CpoGolden, EveryTpoCase) {
  CANDOR_REQUIRE_FILE(golden("losses/tpo.json"));
  const auto cases = golden_cases("tpo.json");
  EXPECT_EQ(cases.size(), 6u);
  for (const json& c : cases) {
    const json& config = c["config"];
    const bool has_gold = config["tpo_alpha"] != 0.0;
    const size_t all = c["inputs"]["mask"]["shape"][0], pairs = all / (has_gold ? 3 : 2);
    const PaddedRows rows(c["inputs"]["mask"], pair_order(pairs));
    static const std::map<std::string, CpoType> types{
        {"sigmoid", CpoType::kSigmoid}, {"hinge", CpoType::kHinge}, {"ipo", CpoType::kIpo}, {"tpo-l", CpoType::kSimpo}};
    const auto theirs = tensor(c["inputs"], "logprobs"), logprobs = rows.in_order(theirs);
    const auto loss = cpo_loss({rows.rows(), logprobs, {}}, {types.at(config["loss_type"]), config["beta"],
                                                             config["label_smoothing"], 0.0, config["tpo_l_gamma"]});
    ASSERT_TRUE(loss) << loss.error().message;
    auto d = rows.back(loss->d_logprobs);
    double value = loss->loss();
    if (has_gold) {
      std::vector<size_t> gold_order;
      for (size_t i = 2 * pairs; i < all; ++i) gold_order.push_back(i);
      const PaddedRows gold(c["inputs"]["mask"], gold_order);
      const auto gold_logprobs = gold.in_order(theirs);
      const SftLoss nll = sft_loss({gold.rows(), gold_logprobs, {}, {}, gold.rows().counted()}, SftLossType::kNll);
      value += config["tpo_alpha"].get<double>() * nll.loss();
      for (double slope : nll.d_logprobs) d.push_back(config["tpo_alpha"].get<double>() * slope);
    }
    Comparison compare{c};
    compare.number_is("loss", value, number(c["outputs"]["loss"]));
    compare.list_is("d_logprobs", d, tensor(c["outputs"]["gradients"], "logprobs"));
    compare.metrics_are(preference_metrics(loss->pairs), c["outputs"]["metrics"]);
    EXPECT_EQ(compare.wrong, "");
  }
}

// ORPO's rows without what attention leaves out: every token that is left is in the likelihood.
struct OrpoCase {
  std::vector<size_t> places;  // of our tokens in TRL's [2B,T]
  std::vector<int64_t> offsets = {0};
  std::vector<uint8_t> mask;
  std::vector<double> logprobs;
  double beta;

  explicit OrpoCase(const json& c) : beta(c["config"]["beta"]) {
    const json& in = c["inputs"];
    const auto all = tensor(in, "logprobs"), counted = tensor(in, "mask"), attention = tensor(in, "attention");
    const size_t width = in["mask"]["shape"][1];
    for (size_t row : pair_order(in["mask"]["shape"][0].get<size_t>() / 2)) {
      for (size_t t = row * width; t < (row + 1) * width; ++t) {
        if (attention[t] == 0) continue;
        places.push_back(t);
        mask.push_back(counted[t] != 0);
        logprobs.push_back(all[t]);
      }
      offsets.push_back(static_cast<int64_t>(places.size()));
    }
  }
};

std::string orpo_mismatch(const json& c, const OrpoCase& ours) {
  const auto loss = orpo_loss({{ours.offsets, ours.mask}, ours.logprobs, {}}, ours.beta);
  if (!loss) return loss.error().message;
  Comparison compare{c};
  compare.number_is("loss", loss->loss(), number(c["outputs"]["loss"]));
  auto d = tensor(c["outputs"]["gradients"], "logprobs");
  std::vector<double> theirs;
  for (size_t place : ours.places) {
    theirs.push_back(d[place]);
    d[place] = 0;
  }
  compare.list_is("d_logprobs", loss->d_logprobs, theirs);
  compare.list_is("d_logprobs of padding", std::vector<double>(d.size(), 0.0), d);
  Metrics metrics = preference_metrics(loss->pairs, {}, loss->parts);
  compare.metrics_are(metrics, c["outputs"]["metrics"]);
  return compare.wrong;
}

TEST(OrpoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/orpo.json"));
  const auto cases = golden_cases("orpo.json");
  EXPECT_EQ(cases.size(), 6u);
  for (const json& c : cases) EXPECT_EQ(orpo_mismatch(c, OrpoCase(c)), "");
  const std::vector<std::pair<std::string, std::function<void(OrpoCase&)>>> twins{
      {"beta", [](OrpoCase& c) { c.beta = 0.2; }},
      {"the prompt in the odds", [](OrpoCase& c) { std::fill(c.mask.begin(), c.mask.end(), uint8_t{1}); }},
  };
  for (const auto& [name, twin] : twins) EXPECT_GT(rejections<OrpoCase>(cases, twin, orpo_mismatch), 0) << name;
}

struct OnlineCase {
  PaddedRows rows;  // pairs of one prompt adjacent, then chosen first
  std::vector<double> logprobs, reference;
  DpoOptions options;
  bool sums = true;

  explicit OnlineCase(const json& c) : OnlineCase(c, false) {}
  OnlineCase(const json& c, bool last_wins_ties) : rows(c["inputs"]["mask"], chosen_first(c, last_wins_ties)) {
    logprobs = rows.in_order(tensor(c["inputs"], "logprobs"));
    reference = rows.in_order(tensor(c["inputs"], "reference_logprobs"));
    options.losses = {{c["config"]["loss_type"] == "ipo" ? DpoType::kIpo : DpoType::kSigmoid, 1.0}};
    options.beta = c["config"]["beta"];
  }
  static std::vector<size_t> chosen_first(const json& c, bool last_wins_ties) {
    const auto theirs = tensor(c["inputs"], "rewards"), eos = tensor(c["inputs"], "contains_eos");
    auto order = pair_order(theirs.size() / 2);
    std::vector<double> rewards;
    std::vector<uint8_t> ended;
    for (size_t row : order) {
      rewards.push_back(theirs[row]);
      ended.push_back(eos[row] != 0);
    }
    const json& penalty = c["config"]["missing_eos_penalty"];
    const auto first = first_is_chosen(rewards, ended, penalty.is_null() ? 0.0 : penalty.get<double>());
    for (size_t i = 0; i < first.size(); ++i)
      if (!first[i] || (last_wins_ties && rewards[2 * i] == rewards[2 * i + 1]))
        std::swap(order[2 * i], order[2 * i + 1]);
    return order;
  }
};

std::string online_mismatch(const json& c, const OnlineCase& ours) {
  const std::vector<int64_t> ones(ours.rows.order.size(), 1);
  PreferenceInputs in{ours.rows.rows(), ours.logprobs, ours.reference};
  if (ours.sums) in.lengths = ones;
  const auto loss = dpo_loss(in, ours.options);
  if (!loss) return loss.error().message;
  Comparison compare{c};
  compare.number_is("loss", loss->loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", ours.rows.back(loss->d_logprobs), tensor(c["outputs"]["gradients"], "logprobs"));
  compare.metrics_are(
      preference_metrics(loss->pairs), c["outputs"]["metrics"],
      {"beta", "objective/entropy", "objective/kl", "objective/non_score_reward", "objective/rlhf_reward",
       "objective/scores", "objective/scores_margin", "val/contain_eos_token"});
  return compare.wrong;
}

TEST(OnlineDpoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/online_dpo.json"));
  const auto cases = golden_cases("online_dpo.json");
  EXPECT_EQ(cases.size(), 4u);
  for (const json& c : cases) EXPECT_EQ(online_mismatch(c, OnlineCase(c)), "");
  const std::vector<std::pair<std::string, std::function<OnlineCase(const json&)>>> twins{
      {"the second wins ties", [](const json& c) { return OnlineCase(c, true); }},
      {"means over tokens",
       [](const json& c) {
         OnlineCase twin(c);
         twin.sums = false;
         return twin;
       }},
  };
  for (const auto& [name, twin] : twins) {
    int rejected = 0;
    for (const json& c : cases) rejected += !online_mismatch(c, twin(c)).empty();
    EXPECT_GT(rejected, 0) << name;
  }
}

TEST(XpoGolden, EveryCase) {
  CANDOR_REQUIRE_FILE(golden("losses/xpo_nash_md.json"));
  int ran = 0, rejected = 0;
  for (const json& c : golden_cases("xpo_nash_md.json")) {
    if (!c["config"].contains("alpha")) continue;
    ++ran;
    const json& in = c["inputs"];
    const auto own_is_chosen = tensor(in, "policy_completion_is_chosen");
    const size_t pairs = own_is_chosen.size(), width = in["logprobs_on_policy_completions"]["shape"][1];
    // Two adjacent rows, the chosen one first; each is the policy's or the reference's completion.
    std::vector<int64_t> offsets = {0};
    std::vector<double> logprobs, reference, want;
    std::vector<uint8_t> reference_is_chosen;
    for (size_t i = 0; i < pairs; ++i) {
      reference_is_chosen.push_back(own_is_chosen[i] == 0);
      for (const bool own : {own_is_chosen[i] != 0, own_is_chosen[i] == 0}) {
        const std::string of = own ? "policy_completions" : "reference_completions";
        const auto row = [&](const json& from, const std::string& name, std::vector<double>& to) {
          const auto all = tensor(from, name);
          to.insert(to.end(), all.begin() + static_cast<std::ptrdiff_t>(i * width),
                    all.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
        };
        row(in, "logprobs_on_" + of, logprobs);
        row(in, "reference_logprobs_on_" + of, reference);
        row(c["outputs"]["gradients"], "logprobs_on_" + of, want);
        offsets.push_back(offsets.back() + static_cast<int64_t>(width));
      }
    }
    const std::vector<int64_t> ones(2 * pairs, 1);
    PreferenceInputs inputs{{offsets, {}}, logprobs, reference};
    inputs.lengths = ones;
    DpoOptions options;
    options.losses = {{c["config"]["loss_type"] == "ipo" ? DpoType::kIpo : DpoType::kSigmoid, 1.0}};
    options.beta = c["config"]["beta"];
    auto loss = dpo_loss(inputs, options);
    ASSERT_TRUE(loss);
    Comparison compare{c};
    compare.number_is("loss/dpo", loss->loss(), number(c["outputs"]["metrics"]["loss/dpo"]));
    rejected += difference(loss->loss(), number(c["outputs"]["loss"])) > 1e-12;
    add_xpo_term(inputs, reference_is_chosen, c["config"]["alpha"], *loss);
    compare.number_is("loss", loss->loss(), number(c["outputs"]["loss"]));
    compare.list_is("d_logprobs", loss->d_logprobs, want);
    EXPECT_EQ(compare.wrong, "");
  }
  EXPECT_EQ(ran, 2);
  EXPECT_EQ(rejected, 2);  // without the optimism
}

TEST(NashMdGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/xpo_nash_md.json"));
  struct Known {
    std::vector<double> wins;
    double beta;
  };
  const std::vector<std::pair<std::string, std::function<void(Known&)>>> twins{
      {"no KL", [](Known& k) { k.beta = 0; }},
      {"the other side wins",
       [](Known& k) {
         for (double& p : k.wins) p = 1 - p;
       }},
  };
  std::map<std::string, int> rejected;
  int ran = 0;
  for (const json& c : golden_cases("xpo_nash_md.json")) {
    if (c["config"].contains("alpha")) continue;
    ++ran;
    const json& in = c["inputs"];
    const auto logprobs = tensor(in, "logprobs"), reference = tensor(in, "reference_logprobs");
    const size_t n = in["logprobs"]["shape"][0], width = in["logprobs"]["shape"][1];
    std::vector<int64_t> offsets;
    for (size_t i = 0; i <= n; ++i) offsets.push_back(static_cast<int64_t>(i * width));
    const auto wrong = [&](const Known& known) {
      const NashLoss loss = nash_md_loss({{offsets, {}}, logprobs, reference, known.wins}, known.beta);
      Comparison compare{c};
      compare.number_is("loss", loss.loss, number(c["outputs"]["loss"]));
      compare.number_is("loss/score", loss.score, number(c["outputs"]["metrics"]["loss/score"]));
      compare.number_is("loss/kl", loss.kl, number(c["outputs"]["metrics"]["loss/kl"]));
      compare.list_is("d_logprobs", loss.d_logprobs, tensor(c["outputs"]["gradients"], "logprobs"));
      return compare.wrong;
    };
    const Known right{tensor(in, "probability"), c["config"]["beta"]};
    EXPECT_EQ(wrong(right), "");
    for (const auto& [name, break_it] : twins) {
      Known twin = right;
      break_it(twin);
      rejected[name] += !wrong(twin).empty();
    }
  }
  for (const auto& [name, times] : rejected) EXPECT_EQ(times, 2) << name;
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace candor::algorithms::testing
