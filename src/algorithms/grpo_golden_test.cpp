// Parity with TRL 1.16: every case of golden/losses/grpo_losses.json whose options grpo_loss has.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "algorithms/golden_case.h"
#include "support/oracle.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;
using candor::testing::read_text;

// The first thing in which our numbers differ from the case's, or "".
std::string mismatch(const json& c, const Batch& b, const GrpoLoss& loss, double tolerance) {
  const json& expected = c["outputs"];
  auto check = [&](const std::string& what, double value, double want) {
    if (difference(value, want) <= tolerance) return std::string();
    return fmt::format("{}: {} is {:.17g}, TRL's {:.17g}", c["name"].get<std::string>(), what, value, want);
  };
  if (auto s = check("loss", loss.loss(), number(expected["loss"])); !s.empty()) return s;
  const auto d = tensor(expected["gradients"], "logprobs");
  for (size_t t = 0; t < d.size(); ++t)
    if (auto s = check(fmt::format("d_logprobs[{}]", t), loss.d_logprobs[t], d[t]); !s.empty()) return s;
  const auto d_entropies = tensor(expected["gradients"], "entropies");
  for (size_t t = 0; t < d_entropies.size(); ++t)
    if (auto s = check(fmt::format("d_entropies[{}]", t), loss.d_entropies[t], d_entropies[t]); !s.empty()) return s;
  const auto metrics = logged_metrics(b, loss);
  if (c["inputs"]["logprobs"]["shape"][1] == 1) return "";  // TRL takes [N,1] for one ratio per row, masked or not
  for (const auto& [name, want] : expected["metrics"].items()) {
    if (name.starts_with("sampling/") || name == "policy_loss" || name == "entropy_coef") continue;  // not grpo_loss's
    if (!metrics.contains(name)) return c["name"].get<std::string>() + ": no metric " + name;
    if (auto s = check(name, metrics.at(name), number(want)); !s.empty()) return s;
  }
  return "";
}

TEST(GrpoGolden, EveryCase) {
  const auto path = golden("losses/grpo_losses.json");
  CANDOR_REQUIRE_FILE(path);
  int ran = 0;
  std::map<std::string, int> skipped;
  const json cases = json::parse(read_text(path))["cases"];
  for (const json& c : cases) {
    if (c["config"]["loss_type"] == "vespo") {
      ++skipped["vespo"];  // a row's weight from the whole row: not in grpo_loss
      continue;
    }
    ++ran;
    const Batch b = batch_of(c);
    EXPECT_EQ(mismatch(c, b, grpo_loss(b.inputs(), b.options), 1e-12), "");
  }
  EXPECT_EQ(ran, 179);
  EXPECT_EQ(skipped, (std::map<std::string, int>{{"vespo", 16}}));
}

}  // namespace
}  // namespace candor::algorithms::testing
