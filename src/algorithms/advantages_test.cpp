#include "algorithms/advantages.h"

#include <gtest/gtest.h>

#include "algorithms/golden_case.h"
#include "support/oracle.h"

namespace candor::algorithms {
namespace {

using candor::testing::golden;
using candor::testing::read_text;
using testing::difference;
using testing::json;
using testing::number;
using testing::tensor;

AdvantageOptions options_of(const json& config) {
  AdvantageOptions o;
  const std::string scale = config["scale_rewards"];
  o.scale_rewards = scale == "group"   ? ScaleRewards::kGroup
                    : scale == "batch" ? ScaleRewards::kBatch
                                       : ScaleRewards::kNone;
  if (config["multi_objective_aggregation"] == "normalize_then_sum")
    o.aggregation = RewardAggregation::kNormalizeThenSum;
  if (!config["reward_weights"].is_null()) o.reward_weights = tensor(config, "reward_weights");
  return o;
}

TEST(Advantages, EveryGoldenCase) {
  const auto path = golden("losses/grpo_advantages.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const auto& shape = c["inputs"]["rewards"]["shape"];
    const auto parts = tensor(c["inputs"], "rewards");
    const auto got = group_advantages(parts, shape[2], shape[1], options_of(c["config"]));
    ASSERT_TRUE(got) << got.error().message;
    const auto expected = tensor(c["outputs"], "advantages");
    ASSERT_EQ(got->advantages.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_LE(difference(got->advantages[i], expected[i]), 1e-12) << "row " << i;  // float64 on both sides
    std::vector<std::string> names;
    for (size_t k = 0; k < shape[2].get<size_t>(); ++k) names.push_back("reward_" + std::to_string(k));
    const Metrics metrics = got->metrics(names);
    EXPECT_EQ(metrics.size(), c["outputs"]["metrics"].size());
    for (const Metric& m : metrics)
      EXPECT_LE(difference(m.value, number(c["outputs"]["metrics"].at(m.name))), 1e-12) << m.name;
    ++ran;
  }
  EXPECT_EQ(ran, 24);
}

}  // namespace
}  // namespace candor::algorithms
