// What must hold of the group losses whoever else computes them: numbers on paper, finite differences, invariances,
// degenerate inputs; and that these checks reject broken twins of the loss. Parity with TRL: grpo_golden_test.cpp.
#include "algorithms/grpo.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "algorithms/golden_case.h"
#include "algorithms/kl.h"
#include "base/rng.h"

namespace candor::algorithms::testing {
namespace {

constexpr LossType kAllTypes[] = {LossType::kGrpo,  LossType::kDrGrpo, LossType::kDapo,
                                  LossType::kBnpo,  LossType::kCispo,  LossType::kSapo,
                                  LossType::kLuspo, LossType::kVespo,  LossType::kGmpo};

using LossFunction = std::function<GrpoLoss(const Batch&)>;

GrpoLoss true_loss(const Batch& b) {
  return grpo_loss(b.inputs(), b.options);
}

// Two rows, two tokens and one: ratios 1.5, 1 | 1, advantages 1 | -1.
Batch paper_batch(LossType type) {
  Batch b;
  b.offsets = {0, 2, 3};
  b.logprobs = {-1.0 + std::log(1.5), -2.0, -0.5};
  b.old_logprobs = {-1.0, -2.0, -0.5};
  b.reference = {-1.0 + std::log(1.5), -1.7, -0.5};  // d = ref - lp = 0, 0.3, 0
  b.advantages = {1.0, -1.0};
  b.max_completion_length = 4;
  b.options.loss_type = type;
  b.normalize();
  return b;
}

// Ragged rows of 0 to 7 tokens, some masked, log-ratios on both sides of the clip; groups of 4.
Batch random_batch(LossType type, RatioLevel level, double beta, uint64_t seed = 1) {
  Batch b;
  const RngKey key{seed, RngStream::kData};
  uint64_t draw = 0;
  auto uniform = [&](double low, double high) { return low + (high - low) * random_uniform(key, draw++); };
  b.offsets = {0};
  for (int row = 0; row < 12; ++row) {
    const int length = row == 5 ? 0 : 1 + static_cast<int>(random_below(key, draw++, 7));
    for (int t = 0; t < length; ++t) {
      b.mask.push_back(row != 9 && uniform(0, 1) < 0.85);
      b.logprobs.push_back(uniform(-4, -0.05));
      b.old_logprobs.push_back(b.logprobs.back() + uniform(-0.8, 0.8));
      b.reference.push_back(b.logprobs.back() + uniform(-0.6, 0.6));
      b.entropies.push_back(uniform(0.02, 3));
    }
    b.offsets.push_back(b.offsets.back() + length);
    b.advantages.push_back(uniform(-1.5, 1.5));
  }
  b.max_completion_length = 8;
  b.local_batch_rows = 4;
  b.accumulation_steps = 3;
  b.options.loss_type = type;
  b.options.epsilon_high = type == LossType::kCispo ? 1.3 : 0.28;
  b.options.delta = 1.6;
  b.options.importance_sampling_level = level;
  b.options.beta = beta;
  b.normalize();
  return b;
}

std::string unequal(const std::string& what, double value, double expected, double tolerance) {
  if (difference(value, expected) <= tolerance) return "";
  return fmt::format("{} is {:.17g}, expected {:.17g}", what, value, expected);
}

// The paper batch by hand. Policy terms: -clip(1.5)·1 = -1.2, -1, +1; only the first is clipped.
std::string paper_problem(const LossFunction& loss) {
  struct Expected {
    LossType type;
    double value, d1, d2;  // derivatives of tokens 1 and 2; token 0 is clipped: 0
  };
  const Expected table[] = {
      {LossType::kGrpo, (-2.2 / 2 + 1) / 2, -1.0 / 4, 1.0 / 2},  // mean of rows of mean of tokens
      {LossType::kDapo, -1.2 / 3, -1.0 / 3, 1.0 / 3},            // over 3 tokens
      {LossType::kBnpo, -1.2 / 3, -1.0 / 3, 1.0 / 3},            // one local batch: the same
      {LossType::kDrGrpo, -1.2 / 8, -1.0 / 8, 1.0 / 8},          // over 2 rows · 4 tokens
      {LossType::kLuspo, -1.2 / 2, -1.0 / 2, 1.0 / 2},           // over 2 rows
      // the log-ratio 0.405 is cut to 0.2; its row's ratio is e^(0.2/2)
      {LossType::kGmpo, (-std::exp(0.1) + 1) / 2, -std::exp(0.1) / 4, 1.0 / 2},
  };
  for (const Expected& e : table) {
    const GrpoLoss got = loss(paper_batch(e.type));
    for (const auto& s : {unequal("paper loss", got.loss(), e.value, 1e-15), unequal("d0", got.d_logprobs[0], 0, 0),
                          unequal("d1", got.d_logprobs[1], e.d1, 1e-15), unequal("d2", got.d_logprobs[2], e.d2, 1e-15)})
      if (!s.empty()) return s;
  }
  return "";
}

// d_logprobs against central differences of the loss. CISPO's and VESPO's weights are constants in the derivative but
// not in the difference, so they are left out.
std::string difference_problem(const LossFunction& loss) {
  for (LossType type : kAllTypes)
    for (RatioLevel level : {RatioLevel::kToken, RatioLevel::kSequence, RatioLevel::kSequenceSum})
      for (KlInLoss kl : {KlInLoss::kCorrectedK3, KlInLoss::kK3, KlInLoss::kK2}) {
        if (type == LossType::kCispo || type == LossType::kVespo) continue;
        Batch b = random_batch(type, level, 0.3);
        b.options.kl_in_loss = kl;
        const auto analytic = loss(b).d_logprobs;
        constexpr double kStep = 1e-6;
        for (size_t t = 0; t < b.logprobs.size(); ++t) {
          const double at = b.logprobs[t];
          b.logprobs[t] = at + kStep;
          const double up = loss(b).loss();
          b.logprobs[t] = at - kStep;
          const double down = loss(b).loss();
          b.logprobs[t] = at;
          // 1e-8: rounding of the loss, 1e-16, over the step, plus the step squared
          const auto s = unequal(fmt::format("derivative {}", t), analytic[t], (up - down) / (2 * kStep), 1e-8);
          if (!s.empty()) return s;
        }
      }
  return "";
}

// The KL term alone (advantages 0), dapo over 3 tokens, d = 0.3 on the middle one, on-policy there (closed forms).
std::string kl_problem(const LossFunction& loss) {
  struct Expected {
    KlInLoss kind;
    double value, derivative;
  };
  const double k3 = std::exp(0.3) - 1.3;
  const Expected table[] = {
      {KlInLoss::kCorrectedK3, k3, -0.3}, {KlInLoss::kK3, k3, 1 - std::exp(0.3)}, {KlInLoss::kK2, 0.045, -0.3}};
  for (const Expected& e : table) {
    Batch b = paper_batch(LossType::kDapo);
    b.advantages = {0, 0};
    b.options.beta = 0.04;
    b.options.kl_in_loss = e.kind;
    const GrpoLoss got = loss(b);
    for (const auto& s : {unequal("kl loss", got.loss(), 0.04 * e.value / 3, 1e-15),
                          unequal("kl derivative", got.d_logprobs[1], 0.04 * e.derivative / 3, 1e-15)})
      if (!s.empty()) return s;
  }
  return "";
}

// Tokens under the mask: any number may stand there, and the derivative is 0.
std::string mask_problem(const LossFunction& loss) {
  Batch b = random_batch(LossType::kDapo, RatioLevel::kToken, 0.1);
  const GrpoLoss before = loss(b);
  for (size_t t = 0; t < b.mask.size(); ++t)
    if (!b.mask[t]) b.logprobs[t] = b.old_logprobs[t] = b.reference[t] = std::nan("");
  const GrpoLoss after = loss(b);
  if (before.loss() != after.loss()) return "a masked token reaches the loss";
  for (size_t t = 0; t < b.mask.size(); ++t)
    if (!b.mask[t] && after.d_logprobs[t] != 0) return "a masked token has a derivative";
  return "";
}

std::string problem(const LossFunction& loss) {
  for (const auto& check : {paper_problem, difference_problem, kl_problem, mask_problem})
    if (const auto s = check(loss); !s.empty()) return s;
  return "";
}

TEST(GrpoLoss, PaperDifferencesKlAndMask) {
  EXPECT_EQ(problem(true_loss), "");
}

TEST(GrpoLoss, BrokenTwinsAreRejected) {
  auto with = [](auto change) {
    return [change](Batch b) {
      change(b);
      return true_loss(b);
    };
  };
  const std::vector<std::pair<std::string, LossFunction>> twins{
      {"derivative's sign flipped",
       [](Batch b) {
         GrpoLoss l = true_loss(b);
         for (double& d : l.d_logprobs) d = -d;
         return l;
       }},
      {"advantage's sign flipped", with([](Batch& b) {
         for (double& a : b.advantages) a = -a;
       })},
      {"clip removed", with([](Batch& b) { b.options.epsilon = b.options.epsilon_high.emplace(1e9); })},
      {"clipped token keeps its gradient",
       [](Batch b) {
         GrpoLoss l = true_loss(b);
         b.options.epsilon = b.options.epsilon_high.emplace(1e9);
         l.d_logprobs = true_loss(b).d_logprobs;
         return l;
       }},
      {"mask inverted", with([](Batch& b) {
         for (auto& m : b.mask) m = !m;
       })},
      {"mask ignored", with([](Batch& b) { b.mask.clear(); })},
      {"dapo's normalizer for every type",
       with([](Batch& b) { b.weights = loss_normalizer(b.rows(), LossType::kDapo, {}).row_weights; })},
      {"grpo's normalizer for every type",
       with([](Batch& b) { b.weights = loss_normalizer(b.rows(), LossType::kGrpo, {}).row_weights; })},
      {"derivative not normalized",
       [](Batch b) {
         GrpoLoss l = true_loss(b);
         for (double& d : l.d_logprobs) d *= 2;
         return l;
       }},
      {"KL subtracted", with([](Batch& b) { b.options.beta = -b.options.beta; })},
      {"plain k3 for every KL", with([](Batch& b) { b.options.kl_in_loss = KlInLoss::kK3; })},
      {"KL against the old policy", with([](Batch& b) { b.reference = b.old_logprobs; })},
      {"token ratio at sequence level",
       [](Batch b) {
         GrpoLoss l = true_loss(b);
         b.options.importance_sampling_level = RatioLevel::kToken;
         l.d_logprobs = true_loss(b).d_logprobs;
         return l;
       }},
  };
  for (const auto& [name, twin] : twins) EXPECT_NE(problem(twin), "") << "not rejected: " << name;
}

TEST(GrpoLoss, SplittingTheRowsChangesNoBit) {
  for (LossType type : kAllTypes)
    for (RatioLevel level : {RatioLevel::kToken, RatioLevel::kSequence}) {
      Batch b = random_batch(type, level, 0.1);
      b.top_entropy = 0.6;
      b.entropy_bonus = true;
      b.entropy_coef = 0.02;
      b.normalize();
      const GrpoLoss whole = true_loss(b);
      for (size_t size : {1, 2, 3, 5, 7}) {
        GrpoLoss joined;
        for (size_t first = 0; first < b.advantages.size(); first += size) {
          const GrpoLoss part = grpo_loss(b.inputs(first, std::min(size, b.advantages.size() - first)), b.options);
          joined.rows.insert(joined.rows.end(), part.rows.begin(), part.rows.end());
          joined.d_logprobs.insert(joined.d_logprobs.end(), part.d_logprobs.begin(), part.d_logprobs.end());
          joined.d_entropies.insert(joined.d_entropies.end(), part.d_entropies.begin(), part.d_entropies.end());
        }
        EXPECT_EQ(joined.d_logprobs, whole.d_logprobs) << size;
        EXPECT_EQ(joined.d_entropies, whole.d_entropies) << size;
        EXPECT_EQ(joined.loss(), whole.loss()) << size;
        const Metrics a = grpo_metrics(joined.rows, b.options, {}), c = grpo_metrics(whole.rows, b.options, {});
        for (size_t m = 0; m < a.size(); ++m) EXPECT_EQ(a[m].value, c[m].value) << a[m].name;
      }
    }
}

TEST(GrpoLoss, RowOrderOnlyChangesTheSumsRounding) {
  const Batch b = random_batch(LossType::kDapo, RatioLevel::kToken, 0.1);
  const size_t n = b.advantages.size();
  Batch reversed = b;
  reversed.offsets = {0};
  reversed.mask.clear();
  for (auto* v :
       {&reversed.logprobs, &reversed.old_logprobs, &reversed.reference, &reversed.entropies, &reversed.advantages})
    v->clear();
  for (size_t i = n; i-- > 0;) {
    for (size_t t = b.rows().begin(i); t < b.rows().end(i); ++t) {
      reversed.mask.push_back(b.mask[t]);
      reversed.logprobs.push_back(b.logprobs[t]);
      reversed.old_logprobs.push_back(b.old_logprobs[t]);
      reversed.reference.push_back(b.reference[t]);
      reversed.entropies.push_back(b.entropies[t]);
    }
    reversed.advantages.push_back(b.advantages[i]);
    reversed.offsets.push_back(static_cast<int64_t>(reversed.mask.size()));
  }
  reversed.normalize();
  const GrpoLoss one = true_loss(b), other = true_loss(reversed);
  for (size_t i = 0; i < n; ++i) EXPECT_EQ(one.rows[i].loss, other.rows[n - 1 - i].loss) << i;
  EXPECT_NEAR(one.loss(), other.loss(), 1e-15 * n);  // n additions in another order
}

TEST(GrpoLoss, OldEqualToPolicyIsOnPolicy) {
  Batch b = random_batch(LossType::kGrpo, RatioLevel::kToken, 0.1);
  b.old_logprobs = b.logprobs;
  const GrpoLoss with_old = true_loss(b);
  b.old_logprobs.clear();
  const GrpoLoss without = true_loss(b);
  EXPECT_EQ(with_old.loss(), without.loss());
  EXPECT_EQ(with_old.d_logprobs, without.d_logprobs);
}

// Ratio e^W = 1.5 of the first row: φ = e^(3 - 4.5)·1.5² with A = 1, and -φ·A·lp over all 3 tokens; the second has φ
// = 1.
TEST(GrpoLoss, VespoOnPaper) {
  const Batch b = paper_batch(LossType::kVespo);
  const GrpoLoss got = true_loss(b);
  const double phi = std::exp(-1.5) * 2.25;
  EXPECT_NEAR(got.d_logprobs[0], -phi / 3, 1e-15);
  EXPECT_NEAR(got.d_logprobs[1], -phi / 3, 1e-15);
  EXPECT_NEAR(got.d_logprobs[2], 1.0 / 3, 1e-15);
  EXPECT_NEAR(got.loss(), (-phi * (b.logprobs[0] + b.logprobs[1]) + b.logprobs[2]) / 3, 1e-15);
  const Metrics metrics = grpo_metrics(got.rows, b.options, {});
  EXPECT_EQ(metrics.back().name, "vespo/phi_seq_mean");
  EXPECT_NEAR(metrics.back().value, (phi + 1) / 2, 1e-15);
}

TEST(GrpoLoss, TheEntropyBonusIsToldApart) {
  Batch b = random_batch(LossType::kDapo, RatioLevel::kToken, 0.1);
  const double without = true_loss(b).loss();
  b.entropy_bonus = true;
  b.entropy_coef = 0.02;
  b.normalize();
  const GrpoLoss with = true_loss(b);
  double bonus = 0;
  for (const GrpoRow& row : with.rows) bonus += row.entropy_bonus;
  EXPECT_GT(bonus, 0);
  EXPECT_NEAR(with.loss() + bonus, without, 1e-15);
}

// A group without spread has advantages 0: without a KL its rows' derivatives are exactly 0, so their backward pass can
// be left out.
TEST(GrpoLoss, ZeroAdvantageGivesExactZeros) {
  for (LossType type : kAllTypes) {
    Batch b = random_batch(type, RatioLevel::kToken, 0.0);
    std::fill(b.advantages.begin(), b.advantages.end(), 0.0);
    const GrpoLoss l = true_loss(b);
    EXPECT_EQ(l.loss(), 0.0);
    for (double d : l.d_logprobs) EXPECT_EQ(d, 0.0);
  }
}

TEST(GrpoLoss, DegenerateInputs) {
  for (LossType type : kAllTypes) {
    Batch nothing;
    nothing.offsets = {0};
    nothing.max_completion_length = 1;
    nothing.options.loss_type = type;
    nothing.normalize();
    EXPECT_EQ(true_loss(nothing).loss(), 0.0);

    Batch empty_rows = nothing;
    empty_rows.offsets = {0, 0, 0};
    empty_rows.advantages = {1, -1};
    empty_rows.normalize();
    EXPECT_EQ(true_loss(empty_rows).loss(), 0.0);  // GMPO's constants, -1/2 and 1/2, too

    Batch masked = random_batch(type, RatioLevel::kSequence, 0.1);
    std::fill(masked.mask.begin(), masked.mask.end(), 0);
    masked.normalize();
    const GrpoLoss l = true_loss(masked);
    if (type != LossType::kGmpo) {  // there a constant for each row
      EXPECT_EQ(l.loss(), 0.0);
    }
    for (double d : l.d_logprobs) EXPECT_EQ(d, 0.0);
    for (double w : masked.weights) EXPECT_TRUE(std::isfinite(w));
  }
}

TEST(GrpoLoss, ANanReachesTheLossOfItsRowAlone) {
  Batch b = random_batch(LossType::kDapo, RatioLevel::kSequence, 0.0);
  const size_t token = b.rows().begin(2);
  b.mask[token] = 1;
  b.logprobs[token] = std::nan("");
  const GrpoLoss l = true_loss(b);
  for (size_t i = 0; i < l.rows.size(); ++i) EXPECT_EQ(std::isnan(l.rows[i].loss), i == 2) << i;
}

// closed_forms.json, "grpo on-policy: value is beta*KL when advantages of a group sum to 0 and lengths are equal".
TEST(GrpoLoss, OnPolicyValueIsBetaTimesKl) {
  Batch b;
  b.offsets = {0, 2, 4};
  b.logprobs = {-1.0, -0.5, -2.0, -0.3};
  b.reference = {-1.2, -0.4, -1.9, -0.3};
  b.advantages = {1, -1};
  b.options.loss_type = LossType::kGrpo;
  b.options.beta = 0.04;
  b.normalize();
  const GrpoLoss got = true_loss(b);
  EXPECT_NEAR(got.loss(), 0.0002907258922927314, 1e-15);
  // the printed gradient is plain k3's: (-A + beta·(1 - e^d)) / 4
  b.options.kl_in_loss = KlInLoss::kK3;
  const double plain[] = {-0.24818730753077983, -0.2510517091807565, 0.24894829081924352, 0.25};
  const GrpoLoss with_plain = true_loss(b);
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(with_plain.d_logprobs[t], plain[t], 1e-15);
  // and the corrected one's is (-A + beta·(lp - ref)) / 4
  const double corrected[] = {(-1 + 0.04 * 0.2) / 4, (-1 - 0.04 * 0.1) / 4, (1 - 0.04 * 0.1) / 4, 0.25};
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(got.d_logprobs[t], corrected[t], 1e-15);
}

TEST(Kl, ClosedForms) {  // golden/losses/closed_forms.json: "k1, k2, k3 at ref - lp = 0.3", the adaptive controller
  const KlEstimates k = kl_estimates(-1.3, -1.0);
  EXPECT_NEAR(k.k1, -0.3, 1e-15);
  EXPECT_NEAR(k.k2, 0.045, 1e-15);
  EXPECT_NEAR(k.k3, 0.04985880757600314, 1e-15);
  EXPECT_NEAR(adapted_kl_coefficient(0.2, 2.0, 1.0, 256, 10000), 0.201024, 1e-15);
  EXPECT_NEAR(adapted_kl_coefficient(0.2, 1.1, 1.0, 100, 10000), 0.2 * 1.001, 1e-15);
  EXPECT_NEAR(adapted_kl_coefficient(0.2, 0.0, 1.0, 100, 10000), 0.2 * 0.998, 1e-15);
}

// Other trainers' bounds on k3: verl cuts ref - lp to ±20 and k3 to 10, OpenRLHF k3 to 10. d = 3 gives k3 = e^3 - 4 =
// 16.086: cut, without a gradient. d = 2 gives e^2 - 3, inside. On a bound the derivative passes, as torch's clamp has
// it.
TEST(GrpoLoss, BoundsOnK3) {
  const auto with = [](double d, std::optional<double> log_ratio, std::optional<double> k3, KlInLoss kind) {
    Batch b = paper_batch(LossType::kDapo);
    b.advantages = {0, 0};
    b.reference = b.logprobs;
    b.reference[1] = b.logprobs[1] + d;
    b.options.beta = 3;  // which the mean over 3 tokens takes away
    b.options.kl_in_loss = kind;
    b.options.k3_log_ratio_clamp = log_ratio;
    b.options.k3_clamp = k3;
    const GrpoLoss loss = true_loss(b);
    return std::pair(loss.loss(), loss.d_logprobs[1]);
  };
  const auto plain = [&](double d, std::optional<double> log_ratio, std::optional<double> k3) {
    return with(d, log_ratio, k3, KlInLoss::kK3);
  };
  const auto close = [](std::pair<double, double> got, double value, double slope) {
    EXPECT_NEAR(got.first, value, 1e-14 * std::max(1.0, std::abs(value)));  // two roundings
    EXPECT_NEAR(got.second, slope, 1e-14 * std::max(1.0, std::abs(slope)));
  };
  close(plain(2, 20, 10), std::exp(2.0) - 3, 1 - std::exp(2.0));
  close(plain(3, 20, 10), 10, 0);
  close(plain(3, {}, {}), std::exp(3.0) - 4, 1 - std::exp(3.0));
  close(plain(1.5, 1, {}), std::exp(1.0) - 2, 0);
  close(plain(-1.5, 1, {}), std::exp(-1.0), 0);
  close(plain(1, 1, {}), std::exp(1.0) - 2, 1 - std::exp(1.0));
  // With the ratio in front (1 here) the cut k3 still has the ratio's own gradient.
  close(with(3, 20, 10, KlInLoss::kCorrectedK3), 10, 10);
}

TEST(Kl, RowSumsCountOnlyTheMask) {
  const std::vector<int64_t> offsets{0, 2, 2, 5};
  const std::vector<uint8_t> mask{1, 1, 1, 0, 1};
  const std::vector<double> lp{-1, -2, -3, -4, -5}, ref{-1.5, -2.25, -2, 7, -5.5};
  EXPECT_EQ(row_kl_k1({offsets, mask}, lp, ref), (std::vector<double>{0.75, 0.0, -0.5}));
}

}  // namespace
}  // namespace candor::algorithms::testing
