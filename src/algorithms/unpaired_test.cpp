// KTO and BCO against TRL: every case of golden/losses/kto.json and bco.json, with twins that they reject.
#include "algorithms/unpaired.h"

#include <gtest/gtest.h>

#include <functional>

#include "algorithms/golden_numbers.h"
#include "algorithms/kl.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

struct Rows {
  PaddedRows rows;
  std::vector<double> logprobs, reference;
  std::vector<uint8_t> desirable;

  explicit Rows(const json& in) : rows(in["mask"], plain_order(in["mask"]["shape"][0])) {
    logprobs = tensor(in, "logprobs");
    reference = tensor(in, "reference_logprobs");
    for (double label : tensor(in, "labels")) desirable.push_back(label != 0);
  }
  UnpairedInputs inputs() const { return {rows.rows(), logprobs, reference, desirable}; }
};

struct KtoCase : Rows {
  KtoOptions options;
  std::vector<double> mismatched;  // log-ratios
  double kl;

  explicit KtoCase(const json& c) : Rows(c["inputs"]) {
    const json& config = c["config"];
    options = {config["beta"], config["desirable_weight"], config["undesirable_weight"]};
    if (config["loss_type"] == "kto") {
      const PaddedRows other(c["inputs"]["kl_mask"], plain_order(desirable.size()));
      mismatched =
          row_kl_k1(other.rows(), tensor(c["inputs"], "kl_logprobs"), tensor(c["inputs"], "kl_reference_logprobs"));
    }
    kl = kto_kl(mismatched);
  }
};

std::string kto_mismatch(const json& c, const KtoCase& ours) {
  const UnpairedLoss loss = kto_loss(ours.inputs(), ours.options, ours.kl);
  Comparison compare{c};
  compare.number_is("loss", loss.loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", loss.d_logprobs, tensor(c["outputs"]["gradients"], "logprobs"));
  Metrics metrics = unpaired_metrics(loss.rows);
  metrics.push_back({"kl", ours.kl});
  compare.metrics_are(metrics, c["outputs"]["metrics"]);
  return compare.wrong;
}

TEST(KtoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/kto.json"));
  const auto cases = golden_cases("kto.json");
  EXPECT_EQ(cases.size(), 13u);
  const std::vector<std::pair<std::string, std::function<void(KtoCase&)>>> twins{
      {"no KL", [](KtoCase& c) { c.kl = 0; }},
      {"the KL not clamped at 0",
       [](KtoCase& c) {
         double sum = 0;
         for (double h : c.mismatched) sum += h;
         c.kl = c.mismatched.empty() ? 0 : sum / static_cast<double>(c.mismatched.size());
       }},
      {"the weights swapped", [](KtoCase& c) { std::swap(c.options.desirable_weight, c.options.undesirable_weight); }},
      {"every row desirable", [](KtoCase& c) { std::fill(c.desirable.begin(), c.desirable.end(), uint8_t{1}); }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    EXPECT_EQ(kto_mismatch(c, KtoCase(c)), "");
    for (const auto& [name, break_it] : twins) {
      KtoCase twin(c);
      break_it(twin);
      rejected[name] += !kto_mismatch(c, twin).empty();
    }
  }
  for (const auto& [name, count] : rejected) EXPECT_GT(count, 0) << name;
}

struct BcoCase : Rows {
  double beta;
  RunningMean delta;
  std::vector<double> weights;
  bool updates_first = true, train;

  explicit BcoCase(const json& c) : Rows(c["inputs"]), beta(c["config"]["beta"]), train(c["config"]["do_train"]) {
    const json& before = c["inputs"]["running_before"];
    delta = {before["mean"], before["count"]};
    const auto probabilities = tensor(c["inputs"], "probability_desirable_of_undesirable_rows");
    for (size_t i = 0, k = 0; i < desirable.size() && !probabilities.empty(); ++i)
      weights.push_back(desirable[i] ? 1.0
                                     : density_ratio(probabilities[k++], c["config"]["min_density_ratio"],
                                                     c["config"]["max_density_ratio"]));
  }
};

std::string bco_mismatch(const json& c, BcoCase ours) {
  UnpairedInputs in = ours.inputs();
  in.weights = ours.weights;
  const double before = ours.delta.mean;
  if (ours.train) ours.delta.add(implicit_rewards(in, ours.beta));
  const double delta = ours.updates_first ? ours.delta.mean : before;
  const UnpairedLoss loss = bco_loss(in, ours.beta, delta);
  Comparison compare{c};
  compare.number_is("loss", loss.loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_logprobs", loss.d_logprobs, tensor(c["outputs"]["gradients"], "logprobs"));
  compare.number_is("running mean", ours.delta.mean, c["outputs"]["intermediates"]["running_after"]["mean"]);
  compare.number_is("running count", ours.delta.count, c["outputs"]["intermediates"]["running_after"]["count"]);
  std::map<std::string, double> sums{{"delta", delta}};  // TRL logs sums and counts, and divides in the end
  for (const UnpairedRow& row : loss.rows) {
    const std::string name = row.desirable ? "chosen" : "rejected";
    sums["rewards/" + name + "_sum"] += row.reward;
    sums["logps/" + name + "_sum"] += row.logps;
    sums["count/" + name] += 1;
  }
  Metrics metrics;
  for (const auto& [name, value] : sums) metrics.push_back({name, value});
  compare.metrics_are(metrics, c["outputs"]["metrics"]);
  return compare.wrong;
}

TEST(BcoGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/bco.json"));
  const auto cases = golden_cases("bco.json");
  EXPECT_EQ(cases.size(), 8u);
  const std::vector<std::pair<std::string, std::function<void(BcoCase&)>>> twins{
      {"the running mean updated afterwards", [](BcoCase& c) { c.updates_first = false; }},
      {"the mean of this batch alone", [](BcoCase& c) { c.delta = {}; }},
      {"updated in evaluation", [](BcoCase& c) { c.train = true; }},
      {"no density ratios", [](BcoCase& c) { c.weights.clear(); }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    EXPECT_EQ(bco_mismatch(c, BcoCase(c)), "");
    for (const auto& [name, break_it] : twins) {
      BcoCase twin(c);
      break_it(twin);
      rejected[name] += !bco_mismatch(c, twin).empty();
    }
  }
  for (const auto& [name, count] : rejected) EXPECT_GT(count, 0) << name;
}

}  // namespace
}  // namespace candor::algorithms::testing
