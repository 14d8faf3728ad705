// Reward and process reward losses against TRL: every case of golden/losses/reward_model.json and the losses of
// prm.json, with twins that they reject.
#include "algorithms/reward_model.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "algorithms/golden_numbers.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

std::string mismatch(const json& c, bool with_margin, double centring) {
  const auto chosen = tensor(c["inputs"], "rewards_chosen"), rejected = tensor(c["inputs"], "rewards_rejected");
  const auto margins = with_margin ? tensor(c["inputs"], "margin") : std::vector<double>();
  const RewardLoss loss = reward_loss({chosen, rejected, margins}, centring);
  Comparison compare{c};
  compare.number_is("loss", loss.loss(), number(c["outputs"]["loss"]));
  compare.list_is("d_chosen", loss.d_chosen, tensor(c["outputs"]["gradients"], "rewards_chosen"));
  compare.list_is("d_rejected", loss.d_rejected, tensor(c["outputs"]["gradients"], "rewards_rejected"));
  compare.metrics_are(reward_metrics(chosen, rejected), c["outputs"]["metrics"]);
  return compare.wrong;
}

TEST(RewardGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/reward_model.json"));
  const auto cases = golden_cases("reward_model.json");
  EXPECT_EQ(cases.size(), 8u);
  struct Known {
    bool margin = true;
    double centring = 0;
  };
  const std::vector<std::pair<std::string, std::function<void(Known&)>>> twins{
      {"no margin", [](Known& k) { k.margin = false; }},
      {"not centred", [](Known& k) { k.centring = 0; }},
      {"centred half as much", [](Known& k) { k.centring /= 2; }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    const json& coefficient = c["config"]["center_rewards_coefficient"];
    const Known known{true, coefficient.is_null() ? 0.0 : coefficient.get<double>()};
    EXPECT_EQ(mismatch(c, known.margin, known.centring), "");
    for (const auto& [name, break_it] : twins) {
      Known twin = known;
      break_it(twin);
      rejected[name] += !mismatch(c, twin.margin, twin.centring).empty();
    }
  }
  for (const auto& [name, times] : rejected) EXPECT_GT(times, 0) << name;
}

TEST(ProcessRewardGolden, EveryLoss) {
  CANDOR_REQUIRE_FILE(golden("losses/prm.json"));
  int ran = 0;
  for (const json& c : golden_cases("prm.json")) {
    if (!c["inputs"].contains("logits")) continue;
    ++ran;
    const auto all = tensor(c["inputs"], "logits"), places = tensor(c["inputs"], "labels");
    std::vector<double> logits, want;
    std::vector<uint8_t> labels;
    const auto gradient = tensor(c["outputs"]["gradients"], "logits");
    for (size_t i = 0; i < places.size(); ++i) {
      if (places[i] == -100) continue;
      labels.push_back(places[i] != 0);
      for (size_t k : {2 * i, 2 * i + 1}) {
        logits.push_back(all[k]);
        want.push_back(gradient[k]);
      }
    }
    const auto count = tensor(c["inputs"], "num_items_in_batch");
    const int64_t labelled = count.empty() ? 0 : static_cast<int64_t>(count[0]);
    const StepLoss loss = process_reward_loss(logits, labels, labelled);
    Comparison compare{c};
    compare.number_is("loss", loss.loss, number(c["outputs"]["loss"]));
    compare.list_is("d_logits", loss.d_logits, want);
    EXPECT_EQ(compare.wrong, "");
    for (uint8_t& label : labels) label = 1 - label;
    EXPECT_GT(std::abs(process_reward_loss(logits, labels, labelled).loss - loss.loss), 1e-3) << "labels swapped";
  }
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace candor::algorithms::testing
