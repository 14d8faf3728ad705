// The SFT losses: numbers on paper, finite differences, invariances, degenerate inputs, parity with TRL's 1.16 on every
// case of golden/losses/sft.json that is made of log-probabilities; and broken twins that these checks reject.
#include "algorithms/sft.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "algorithms/golden_case.h"
#include "support/oracle.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;
using candor::testing::read_text;
using LossFunction = std::function<SftLoss(const SftInputs&, SftLossType)>;

// Two rows: ln p = ln 1/2, ln 1/4 | ln 1/8, the second row's other token masked.
struct Paper {
  std::vector<int64_t> offsets = {0, 2, 4};
  std::vector<uint8_t> mask = {1, 1, 1, 0}, correct = {1, 0, 1, 1};
  std::vector<double> logprobs = {std::log(0.5), std::log(0.25), std::log(0.125), NAN}, entropies = {1, 2, 4, NAN};
  SftInputs inputs(int64_t label_tokens) const { return {{offsets, mask}, logprobs, entropies, correct, label_tokens}; }
};

TEST(Sft, OnPaper) {
  const Paper paper;
  // nll over 3 tokens: (1 + 2 + 3)·ln 2 / 3 = 2 ln 2; derivatives -1/3.
  const SftLoss nll = sft_loss(paper.inputs(3), SftLossType::kNll);
  EXPECT_NEAR(nll.loss(), 2 * std::log(2), 1e-15);  // three roundings of numbers near 1
  EXPECT_EQ(nll.d_logprobs, (std::vector<double>{-1.0 / 3, -1.0 / 3, -1.0 / 3, 0}));
  EXPECT_EQ(nll.rows[0].tokens, 2);
  EXPECT_EQ(nll.rows[1].tokens, 1);
  EXPECT_NEAR(nll.rows[1].nll, 3 * std::log(2), 1e-15);
  // dft: (1/2·1 + 1/4·2 + 1/8·3)·ln 2 / 3; derivatives -p/3.
  const SftLoss dft = sft_loss(paper.inputs(3), SftLossType::kDft);
  EXPECT_NEAR(dft.loss(), 1.375 * std::log(2) / 3, 1e-15);
  EXPECT_NEAR(dft.d_logprobs[1], -0.25 / 3, 1e-16);
  EXPECT_EQ(dft.d_logprobs[3], 0);
  EXPECT_NEAR(dft.rows[0].nll, 3 * std::log(2), 1e-15);  // the likelihood is the same whatever the loss
  const Metrics metrics = sft_metrics(dft.rows);
  EXPECT_EQ(metrics[0].value, 7.0 / 3);  // entropy
  EXPECT_EQ(metrics[1].value, 2.0 / 3);  // right: the first and the third
}

TEST(Sft, NothingCountedGivesZero) {
  const std::vector<int64_t> offsets = {0, 0, 2};
  const std::vector<uint8_t> mask = {0, 0};
  const std::vector<double> logprobs = {-1, -2};
  for (const auto type : {SftLossType::kNll, SftLossType::kDft}) {
    const SftLoss loss = sft_loss({{offsets, mask}, logprobs, {}, {}, 0}, type);
    EXPECT_EQ(loss.loss(), 0);
    EXPECT_EQ(loss.d_logprobs, (std::vector<double>{0, 0}));
    EXPECT_EQ(sft_metrics(loss.rows)[1].value, 0);
    EXPECT_EQ(sft_loss({}, type).loss(), 0);
  }
}

TEST(Sft, RowsMayBeSplitIntoCallsWithoutChangingABit) {
  const Paper paper;
  for (const auto type : {SftLossType::kNll, SftLossType::kDft}) {
    const SftLoss whole = sft_loss(paper.inputs(7), type);
    for (size_t i = 0; i < 2; ++i) {
      const RaggedRows all{paper.offsets, paper.mask};
      const SftInputs part{all.slice(i, 1), all.tokens_of(std::span<const double>(paper.logprobs), i, 1),
                           all.tokens_of(std::span<const double>(paper.entropies), i, 1),
                           all.tokens_of(std::span<const uint8_t>(paper.correct), i, 1), 7};
      const SftLoss alone = sft_loss(part, type);
      EXPECT_EQ(alone.rows[0].loss, whole.rows[i].loss);
      EXPECT_TRUE(std::equal(alone.d_logprobs.begin(), alone.d_logprobs.end(),
                             whole.d_logprobs.begin() + static_cast<std::ptrdiff_t>(all.begin(i))));
    }
  }
}

// The first thing in which a loss differs from a case, or "".
std::string mismatch(const nlohmann::json& c, const LossFunction& loss_of) {
  const auto& in = c["inputs"];
  const auto blocks = c["config"]["micro_batches"].get<size_t>();
  const auto rows = in["mask"]["shape"][0].get<size_t>(), width = in["mask"]["shape"][1].get<size_t>();
  std::vector<int64_t> offsets;
  for (size_t i = 0; i <= rows; ++i) offsets.push_back(static_cast<int64_t>(i * width));
  std::vector<uint8_t> mask, correct;
  for (double m : tensor(in, "mask")) mask.push_back(m != 0);
  for (double m : tensor(in, "is_top1")) correct.push_back(m != 0);
  const auto logprobs = tensor(in, "logprobs"), entropies = tensor(in, "entropies");
  const RaggedRows all{offsets, mask};
  const int64_t labels =
      in.contains("num_items_in_batch") ? static_cast<int64_t>(tensor(in, "num_items_in_batch").at(0)) : all.counted();
  const auto type = c["config"]["loss_type"] == "dft" ? SftLossType::kDft : SftLossType::kNll;
  const SftLoss loss = loss_of({all, logprobs, entropies, correct, labels}, type);

  const auto name = c["name"].get<std::string>();
  auto check = [&](const std::string& what, double value, double want) {
    if (difference(value, want) <= 1e-12) return std::string();  // the golden files' own tolerance
    return fmt::format("{}: {} is {:.17g}, TRL's {:.17g}", name, what, value, want);
  };
  const auto& out = c["outputs"];
  if (auto s = check("loss", loss.loss(), number(out["loss"])); !s.empty()) return s;
  const auto d = tensor(out["gradients"], "logprobs");
  for (size_t t = 0; t < d.size(); ++t)
    if (auto s = check(fmt::format("d_logprobs[{}]", t), loss.d_logprobs[t], d[t]); !s.empty()) return s;
  const size_t block = rows / blocks;
  std::map<std::string, double> metrics;  // TRL's: the mean over the micro-batches
  for (size_t b = 0; b < blocks; ++b) {
    const auto part = std::span<const SftRow>(loss.rows).subspan(b * block, block);
    for (const Metric& m : sft_metrics(part)) metrics[m.name] += m.value / static_cast<double>(blocks);
    if (!out.contains("intermediates")) continue;
    double sum = 0;
    for (const SftRow& row : part) sum += row.loss;
    const auto want = tensor(out["intermediates"], "micro_batch_losses").at(b);
    if (auto s = check(fmt::format("micro_batch_losses[{}]", b), sum, want); !s.empty()) return s;
  }
  for (const auto& [metric, want] : out["metrics"].items())
    if (auto s = check(metric, metrics.at(metric), number(want)); !s.empty()) return s;
  return "";
}

std::vector<nlohmann::json> cases_of_logprobs() {
  std::vector<nlohmann::json> cases;
  const nlohmann::json file = nlohmann::json::parse(read_text(golden("losses/sft.json")));
  for (const auto& c : file["cases"])
    if (c["config"].contains("loss_type")) cases.push_back(c);  // label smoothing is a function of logits
  return cases;
}

TEST(SftGolden, EveryCase) {
  CANDOR_REQUIRE_FILE(golden("losses/sft.json"));
  const auto cases = cases_of_logprobs();
  EXPECT_EQ(cases.size(), 12u);
  for (const auto& c : cases) EXPECT_EQ(mismatch(c, sft_loss), "");
}

TEST(SftGolden, TwinsAreRejected) {
  CANDOR_REQUIRE_FILE(golden("losses/sft.json"));
  const std::vector<std::pair<std::string, LossFunction>> twins = {
      {"the mask ignored",
       [](SftInputs in, SftLossType type) {
         in.rows.mask = {};
         return sft_loss(in, type);
       }},
      {"divided by these rows' tokens",
       [](SftInputs in, SftLossType type) {
         in.label_tokens = in.rows.counted();
         return sft_loss(in, type);
       }},
      {"DFT with the gradient through p",
       [](const SftInputs& in, SftLossType type) {
         SftLoss loss = sft_loss(in, type);
         for (size_t t = 0; t < loss.d_logprobs.size() && type == SftLossType::kDft; ++t)
           loss.d_logprobs[t] *= 1 + in.logprobs[t];
         return loss;
       }},
      {"a mean of row means",
       [](const SftInputs& in, SftLossType type) {
         SftLoss loss = sft_loss(in, type);
         for (SftRow& row : loss.rows)
           row.loss =
               row.nll / static_cast<double>(std::max<int64_t>(row.tokens, 1)) / static_cast<double>(loss.rows.size());
         return loss;
       }},
  };
  for (const auto& [name, twin] : twins) {
    int rejected = 0;
    for (const auto& c : cases_of_logprobs()) rejected += !mismatch(c, twin).empty();
    EXPECT_GT(rejected, 0) << name;
  }
}

TEST(Sft, DerivativesAreFiniteDifferences) {
  Paper paper;
  paper.logprobs[3] = -1;
  for (const auto type : {SftLossType::kNll, SftLossType::kDft}) {
    const SftLoss loss = sft_loss(paper.inputs(3), type);
    for (size_t t = 0; t < 4; ++t) {
      const double weight = type == SftLossType::kDft ? std::exp(paper.logprobs[t]) : 1;  // p is held constant
      auto value = [&](double step) {
        return paper.mask[t] ? -weight * (paper.logprobs[t] + step) / 3 : 0.0;  // the other tokens cancel
      };
      EXPECT_NEAR(loss.d_logprobs[t], (value(1e-4) - value(-1e-4)) / 2e-4, 1e-11) << t;  // 1e-16 / 1e-4, twice
    }
  }
}

// Transformers' LabelSmoother: its two cases, by their logits. Position t predicts label t + 1.
TEST(SftGolden, LabelSmoothing) {
  CANDOR_REQUIRE_FILE(golden("losses/sft.json"));
  int ran = 0;
  const auto file = nlohmann::json::parse(read_text(golden("losses/sft.json")));
  for (const auto& c : file["cases"]) {
    if (!c["config"].contains("label_smoothing_factor")) continue;
    ++ran;
    const auto &in = c["inputs"], &out = c["outputs"];
    const size_t vocabulary = in["logits"]["shape"][2];
    const auto logits = tensor(in, "logits"), labels = tensor(in, "labels");
    const auto slopes = tensor(out["gradients"], "logits");
    const size_t width = in["labels"]["shape"][1];
    std::vector<double> logprobs, means, p;
    std::vector<int64_t> label_of;
    for (size_t at = 0; at < labels.size(); ++at) {
      const bool last = at % width + 1 == width;
      label_of.push_back(last ? -100 : static_cast<int64_t>(labels[at + 1]));
      double highest = -INFINITY, sum = 0, mean = 0;
      for (size_t v = 0; v < vocabulary; ++v) highest = std::max(highest, logits[at * vocabulary + v]);
      for (size_t v = 0; v < vocabulary; ++v) sum += std::exp(logits[at * vocabulary + v] - highest);
      const double normalizer = highest + std::log(sum);
      for (size_t v = 0; v < vocabulary; ++v) {
        const double log_p = logits[at * vocabulary + v] - normalizer;
        mean += log_p / static_cast<double>(vocabulary);
        p.push_back(std::exp(log_p));
      }
      means.push_back(mean);
      const int64_t label = label_of.back();
      logprobs.push_back(label < 0 ? 0.0 : std::log(p[at * vocabulary + static_cast<size_t>(label)]));
    }
    std::vector<int64_t> offsets = {0, static_cast<int64_t>(labels.size())};
    std::vector<uint8_t> mask;
    for (const int64_t label : label_of) mask.push_back(label >= 0);
    const RaggedRows rows{offsets, mask};
    const int64_t tokens = in.contains("num_items_in_batch") ? in["num_items_in_batch"].get<int64_t>() : rows.counted();
    const double smoothing = c["config"]["label_smoothing_factor"];
    const SftLoss loss = sft_loss({rows, logprobs, {}, {}, tokens, smoothing, means}, SftLossType::kNll);
    EXPECT_NEAR(loss.loss(), number(out["loss"]), 1e-5);  // float32 cases: the file's own tolerance
    const SftLoss plain = sft_loss({rows, logprobs, {}, {}, tokens}, SftLossType::kNll);
    EXPECT_GT(std::abs(plain.loss() - number(out["loss"])), 1e-3);
    for (size_t at = 0; at < labels.size(); ++at)
      for (size_t v = 0; v < vocabulary; ++v) {
        const double chance = p[at * vocabulary + v], hit = label_of[at] == static_cast<int64_t>(v) ? 1 : 0;
        const double slope = loss.d_logprobs[at] * (hit - chance) +
                             loss.d_mean_logprobs[at] * (1.0 / static_cast<double>(vocabulary) - chance);
        EXPECT_NEAR(slope, slopes[at * vocabulary + v], 1e-5);
      }
  }
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace candor::algorithms::testing
