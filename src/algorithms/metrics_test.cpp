// The completions' lengths against TRL's log, and that docs/metrics.md defines every name that this room emits.
#include "algorithms/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "algorithms/advantages.h"
#include "algorithms/completion_metrics.h"
#include "algorithms/grpo.h"
#include "support/oracle.h"

namespace candor::algorithms {
namespace {

using candor::testing::golden;
using nlohmann::json;

TEST(CompletionMetrics, OnPaper) {
  const std::vector<int64_t> lengths{3, 8, 4, 8};
  const std::vector<uint8_t> terminated{1, 0, 1, 1};
  const double expected[] = {5.75, 3, 8, 0.25, 5, 3, 8};
  const Metrics got = completion_metrics(lengths, terminated);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].value, expected[i]) << got[i].name;
  for (const Metric& m : completion_metrics({}, {})) EXPECT_EQ(m.value, 0.0) << m.name;
}

TEST(CompletionMetrics,
     GoldenTrajectory) {  // 8 completions per generation, a new one every second step; EOS is token 1
  const auto dir = golden("trajectories/grpo_lora");
  CANDOR_REQUIRE_FILE(dir);
  std::ifstream data(dir / "data.jsonl"), steps(dir / "steps.jsonl");
  std::vector<int64_t> lengths;
  std::vector<uint8_t> terminated;
  for (std::string line; std::getline(data, line);) {
    const json ids = json::parse(line)["completion_ids"];
    lengths.push_back(static_cast<int64_t>(ids.size()));
    terminated.push_back(ids.back() == 1);
  }
  ASSERT_EQ(lengths.size(), 40u);
  size_t step = 0;
  for (std::string line; std::getline(steps, line); ++step) {
    if (step % 2 != 0) continue;
    const json metrics = json::parse(line)["metrics"];
    const size_t first = 4 * step;
    for (const Metric& m : completion_metrics(std::span<const int64_t>(lengths).subspan(first, 8),
                                              std::span<const uint8_t>(terminated).subspan(first, 8)))
      EXPECT_NEAR(m.value, metrics.at(m.name), 1e-6) << m.name << " step " << step + 1;  // TRL's means are float32
  }
  EXPECT_EQ(step, 10u);
}

TEST(Metrics, EveryNameIsInTheDocumentation) {
  const std::string page = candor::testing::read_text(candor::testing::source_dir() / "docs" / "metrics.md");
  Metrics all = completion_metrics({}, {});
  auto add = [&all](const Metrics& more) { all.insert(all.end(), more.begin(), more.end()); };
  for (LossType type : {LossType::kDapo, LossType::kCispo, LossType::kVespo}) {
    GrpoOptions options;
    options.loss_type = type;
    add(grpo_metrics({}, options, {}));
  }
  const std::vector<double> parts{1.0, 0.0};
  const std::vector<std::string> names{"NAME"};
  add(group_advantages(parts, 1, 2, {})->metrics(names));
  EXPECT_EQ(all.size(), 7u + 10u + 6u + 6u + 6u);
  for (const Metric& m : all) EXPECT_NE(page.find("`" + m.name + "`"), std::string::npos) << m.name;
}

}  // namespace
}  // namespace candor::algorithms
