// What holds for every loss on pairs and on single completions, without an outside oracle: closed forms, finite
// differences, cuts between pairs, padding, empty batches, and options that contradict each other.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "algorithms/cpo.h"
#include "algorithms/dpo.h"
#include "algorithms/unpaired.h"

namespace candor::algorithms {
namespace {

// Four pairs of uneven length with a few tokens that do not count.
struct Pairs {
  std::vector<int64_t> offsets = {0, 3, 7, 8, 10, 15, 17, 20, 21};
  std::vector<uint8_t> mask;
  std::vector<double> logprobs, reference, log_sum_sq_probs;

  Pairs() {
    for (int64_t t = 0; t < 21; ++t) {
      const double x = static_cast<double>(t);
      mask.push_back(t % 6 != 4);
      logprobs.push_back(-1.5 + std::sin(3 * x));
      reference.push_back(-1.4 + std::sin(3 * x + 0.7));
      log_sum_sq_probs.push_back(-0.8 - 0.5 * std::cos(x));
    }
  }
  PreferenceInputs inputs() const { return {{offsets, mask}, logprobs, reference, log_sum_sq_probs}; }
};

using PairLoss = std::function<PreferenceLoss(const PreferenceInputs&)>;

PairLoss dpo_of(DpoOptions options) {
  return [options](const PreferenceInputs& in) { return dpo_loss(in, options).value(); };
}

DpoOptions only(DpoType type) {
  DpoOptions options;
  options.losses = {{type, 1.0}};
  options.label_smoothing = 0.1;
  options.beta = 0.4;
  return options;
}

std::vector<std::pair<std::string, PairLoss>> all_pair_losses() {
  std::vector<std::pair<std::string, PairLoss>> losses;
  for (int type = 0; type <= static_cast<int>(DpoType::kSft); ++type)
    losses.emplace_back("dpo type " + std::to_string(type), dpo_of(only(static_cast<DpoType>(type))));
  for (const auto divergence : {Divergence::kForwardKl, Divergence::kJs, Divergence::kAlpha})
    for (const auto type : {DpoType::kSigmoid, DpoType::kIpo}) {
      DpoOptions options = only(type);
      options.f_divergence = divergence;
      losses.emplace_back("divergence " + std::to_string(static_cast<int>(divergence)), dpo_of(options));
    }
  DpoOptions sums = only(DpoType::kIpo);
  sums.ipo_of_sums = true;
  losses.emplace_back("ipo of sums", dpo_of(sums));
  DpoOptions discounted = only(DpoType::kCdpo);
  discounted.ld_alpha = 0.3;
  losses.emplace_back("ld_alpha", dpo_of(discounted));
  for (const auto type : {CpoType::kSigmoid, CpoType::kHinge, CpoType::kIpo, CpoType::kSimpo})
    for (const double alpha : {0.0, 0.25})
      losses.emplace_back("cpo type " + std::to_string(static_cast<int>(type)), [=](const PreferenceInputs& in) {
        return cpo_loss(in, {type, 0.5, 0.1, 0.7, 0.3, alpha}).value();
      });
  losses.emplace_back("orpo", [](const PreferenceInputs& in) { return orpo_loss(in, 0.2).value(); });
  return losses;
}

TEST(PairLosses, DerivativesAreFiniteDifferences) {
  for (const auto& [name, loss] : all_pair_losses()) {
    Pairs pairs;
    const auto d = loss(pairs.inputs()).d_logprobs;
    for (size_t t = 0; t < d.size(); ++t) {
      const double at = pairs.logprobs[t];
      pairs.logprobs[t] = at + 1e-5;
      const double above = loss(pairs.inputs()).loss();
      pairs.logprobs[t] = at - 1e-5;
      const double below = loss(pairs.inputs()).loss();
      pairs.logprobs[t] = at;
      // The values are below 20: 4e-15 / 1e-5 in rounding, and less from the third derivative.
      EXPECT_NEAR(d[t], (above - below) / 2e-5, 2e-9) << name << ", token " << t;
    }
  }
}

// WPO's weight is a constant, so only the rest of the product is differentiated.
TEST(PairLosses, WeightsOfWpoAreConstant) {
  Pairs pairs;
  DpoOptions weighted = only(DpoType::kSigmoid);
  weighted.use_weighting = true;
  for (size_t i = 0; i < 4; ++i) {
    const RaggedRows all{pairs.offsets, pairs.mask};
    const auto slice = [&](const std::vector<double>& v) {
      return all.tokens_of(std::span<const double>(v), 2 * i, 2);
    };
    const PreferenceInputs one{all.slice(2 * i, 2), slice(pairs.logprobs), slice(pairs.reference),
                               slice(pairs.log_sum_sq_probs)};
    const auto with = dpo_loss(one, weighted).value(), without = dpo_loss(one, only(DpoType::kSigmoid)).value();
    const double ratio = with.loss() / without.loss();
    for (size_t t = 0; t < with.d_logprobs.size(); ++t)
      EXPECT_NEAR(with.d_logprobs[t], ratio * without.d_logprobs[t], 1e-15);  // one rounding of a number below 1
    EXPECT_GT(std::abs(ratio - 1), 0.01);
  }
}

// With the step's divisors, a cut between pairs changes no bit; what looks at the whole batch is left out.
TEST(PairLosses, CutsBetweenPairsChangeNoBit) {
  const Pairs pairs;
  const RaggedRows all{pairs.offsets, pairs.mask};
  for (const auto& [name, loss] : all_pair_losses()) {
    if (name == "dpo type " + std::to_string(static_cast<int>(DpoType::kAot)) ||
        name == "dpo type " + std::to_string(static_cast<int>(DpoType::kAotUnpaired)))
      continue;
    PreferenceInputs whole = pairs.inputs();
    whole.pairs = 7, whole.chosen_tokens = 30;
    const PreferenceLoss together = loss(whole);
    for (size_t i = 0; i < 4; ++i) {
      const auto slice = [&](const std::vector<double>& v) {
        return all.tokens_of(std::span<const double>(v), 2 * i, 2);
      };
      PreferenceInputs part{all.slice(2 * i, 2), slice(pairs.logprobs), slice(pairs.reference),
                            slice(pairs.log_sum_sq_probs)};
      part.pairs = 7, part.chosen_tokens = 30;
      const PreferenceLoss alone = loss(part);
      EXPECT_EQ(alone.pairs[0].loss, together.pairs[i].loss) << name;
      EXPECT_TRUE(std::equal(alone.d_logprobs.begin(), alone.d_logprobs.end(),
                             together.d_logprobs.begin() + static_cast<std::ptrdiff_t>(all.begin(2 * i))))
          << name;
    }
  }
}

// What stands under the mask does not matter, except to ORPO's likelihood of the prompt.
TEST(PairLosses, WhatDoesNotCountChangesNoBit) {
  const Pairs pairs;
  Pairs other;
  for (size_t t = 0; t < other.mask.size(); ++t)
    if (!other.mask[t]) other.logprobs[t] = other.reference[t] = other.log_sum_sq_probs[t] = NAN;
  for (const auto& [name, loss] : all_pair_losses()) {
    if (name == "orpo") continue;
    EXPECT_EQ(loss(pairs.inputs()).loss(), loss(other.inputs()).loss()) << name;
    EXPECT_EQ(loss(pairs.inputs()).d_logprobs, loss(other.inputs()).d_logprobs) << name;
  }
}

TEST(PairLosses, NoPairGivesZero) {
  for (const auto& [name, loss] : all_pair_losses()) {
    if (name == "dpo type " + std::to_string(static_cast<int>(DpoType::kSft))) continue;  // an error there
    EXPECT_EQ(loss({}).loss(), 0) << name;
  }
}

// βΔ = 0, 1, 2: ln 2, ln(1 + 1/e), ln(1 + 1/e²); hinge 1, 0, 0; IPO at D = 1/(2β): 0.
TEST(Dpo, ClosedForms) {
  DpoOptions options;
  options.beta = 1;
  const auto at = [&](DpoType type, double delta) { return dpo_pair_term(type, {delta, 0}, options).loss; };
  EXPECT_NEAR(at(DpoType::kSigmoid, 0), 0.6931471805599453, 1e-15);
  EXPECT_NEAR(at(DpoType::kSigmoid, 1), 0.31326168751822286, 1e-15);
  EXPECT_NEAR(at(DpoType::kSigmoid, 2), 0.1269280110429725, 1e-15);
  EXPECT_EQ(at(DpoType::kHinge, 0), 1);
  EXPECT_EQ(at(DpoType::kHinge, 1), 0);
  EXPECT_EQ(at(DpoType::kHinge, 2), 0);
  EXPECT_EQ(at(DpoType::kIpo, 0.5), 0);
  EXPECT_EQ(dpo_pair_term(DpoType::kHinge, {1, 0}, options).d_chosen, 0);  // the kink
}

// u = 0.75 of 3 tokens, v = -0.5 of 1, β 0.4: (1.25 - 1.25)² = 0; of means (0.25 + 0.5 - 1.25)² = 0.25.
TEST(Dpo, IpoOfSumsOnPaper) {
  DpoOptions options = only(DpoType::kIpo);
  const PairScores scores{0.75, -0.5, 3, 1};
  EXPECT_NEAR(dpo_pair_term(DpoType::kIpo, scores, options).loss, 0.25, 1e-15);
  EXPECT_NEAR(dpo_pair_term(DpoType::kIpo, scores, options).d_chosen, -1.0 / 3, 1e-15);
  options.ipo_of_sums = true;
  EXPECT_NEAR(dpo_pair_term(DpoType::kIpo, scores, options).loss, 0, 1e-30);
  // Online DPO's rows of TRL (golden/losses/online_dpo.json, ipo) are such sums: recipes/online_pairs_test.cpp.
}

TEST(Dpo, FirstStepIsLn2WherePolicyIsTheReference) {
  Pairs pairs;
  pairs.reference = pairs.logprobs;
  EXPECT_NEAR(dpo_loss(pairs.inputs(), {}).value().loss(), std::log(2), 1e-15);
}

TEST(Dpo, LargeMarginsStayFinite) {
  DpoOptions options;
  options.beta = 1;
  for (const double delta : {-800.0, 800.0}) {
    const PairTerm term = dpo_pair_term(DpoType::kSigmoid, {delta, 0}, options);
    EXPECT_EQ(term.loss, delta < 0 ? 800.0 : 0.0);
    EXPECT_EQ(term.d_chosen, delta < 0 ? -1.0 : 0.0);
  }
}

TEST(Dpo, OptionsThatContradictEachOtherAreNamed) {
  const auto message = [](const DpoOptions& options) {
    const auto checked = check(options);
    return checked ? std::string() : checked.error().message;
  };
  DpoOptions o = only(DpoType::kExoPair);
  EXPECT_EQ(message(o), "");
  o.label_smoothing = 0;
  EXPECT_EQ(message(o), "loss_type exo_pair needs a label_smoothing above 0, since it divides by it; 0.001 is usual.");
  o = only(DpoType::kRobust);
  o.label_smoothing = 0.5;
  EXPECT_EQ(message(o), "loss_type robust needs a label_smoothing below 0.5; it is 0.5.");
  o = only(DpoType::kNcaPair);
  o.f_divergence = Divergence::kJs;
  EXPECT_EQ(message(o), "this loss_type is defined for f_divergence_type reverse_kl only.");
  o = only(DpoType::kHinge);
  o.use_weighting = true;
  EXPECT_EQ(message(o), "use_weighting cannot be used with loss_type aot, aot_unpaired, hinge or sft.");
  o = only(DpoType::kSigmoid);
  o.beta = 0;
  EXPECT_EQ(message(o), "beta is 0; it must be above 0.");
}

TEST(PairLosses, RowsWithoutTokensAreNamedWhereAMeanIsNeeded) {
  const std::vector<int64_t> offsets = {0, 1, 1};
  const std::vector<double> logprobs = {-1};
  const PreferenceInputs in{{offsets, {}}, logprobs, {}};
  const auto simpo = cpo_loss(in, {CpoType::kSimpo});
  ASSERT_FALSE(simpo);
  EXPECT_EQ(simpo.error().message,
            "cpo: the rejected completion of pair 1 of the batch has no token, so it has no mean log-probability.");
  ASSERT_FALSE(orpo_loss(in, 0.1));
  EXPECT_TRUE(cpo_loss(in, {CpoType::kSigmoid}));
  const std::vector<int64_t> full = {0, 1, 2};
  const std::vector<double> certain = {0, -1};
  const auto odds = orpo_loss({{full, {}}, certain, {}}, 0.1);
  ASSERT_FALSE(odds);
  EXPECT_EQ(
      odds.error().message,
      "orpo: every token of the chosen completion of pair 1 of the batch has probability 1: its odds are infinite.");
}

TEST(UnpairedLosses, DerivativesAreFiniteDifferencesAndCutsChangeNoBit) {
  Pairs rows;
  const std::vector<uint8_t> desirable = {1, 0, 0, 1, 1, 0, 1, 0};
  const std::vector<double> weights = {1, 0.5, 2, 1, 1, 3, 1, 1};
  const std::vector<std::function<UnpairedLoss(const UnpairedInputs&)>> losses = {
      [](const UnpairedInputs& in) {
        return kto_loss(in, {0.4, 1.3, 0.7}, 0.2);
      },
      [](const UnpairedInputs& in) { return bco_loss(in, 0.4, -0.1); }};
  for (const auto& loss : losses) {
    const auto inputs = [&] {
      return UnpairedInputs{{rows.offsets, rows.mask}, rows.logprobs, rows.reference, desirable, weights, 9};
    };
    const UnpairedLoss whole = loss(inputs());
    for (size_t t = 0; t < rows.logprobs.size(); ++t) {
      const double at = rows.logprobs[t];
      rows.logprobs[t] = at + 1e-5;
      const double above = loss(inputs()).loss();
      rows.logprobs[t] = at - 1e-5;
      const double below = loss(inputs()).loss();
      rows.logprobs[t] = at;
      EXPECT_NEAR(whole.d_logprobs[t], (above - below) / 2e-5, 1e-10);  // values near 1: 1e-16 / 1e-5
    }
    const RaggedRows all{rows.offsets, rows.mask};
    for (size_t i = 0; i < 8; ++i) {
      const auto slice = [&](const std::vector<double>& v) { return all.tokens_of(std::span<const double>(v), i, 1); };
      const UnpairedInputs part{all.slice(i, 1),
                                slice(rows.logprobs),
                                slice(rows.reference),
                                std::span(desirable).subspan(i, 1),
                                std::span(weights).subspan(i, 1),
                                9};
      EXPECT_EQ(loss(part).rows[0].loss, whole.rows[i].loss);
    }
  }
}

// A KTO batch of one kind only has a loss, and TRL's metrics of the other kind are not there.
TEST(UnpairedLosses, OneKindOnly) {
  const Pairs rows;
  const std::vector<uint8_t> desirable(8, 1);
  const UnpairedLoss loss = kto_loss({{rows.offsets, rows.mask}, rows.logprobs, rows.reference, desirable}, {}, 0);
  const Metrics metrics = unpaired_metrics(loss.rows);
  ASSERT_EQ(metrics.size(), 2u);
  EXPECT_EQ(metrics[0].name, "rewards/chosen");
  EXPECT_TRUE(unpaired_metrics({}).empty());
}

TEST(Logistic, IsExactAtBothEnds) {
  EXPECT_EQ(neg_log_sigmoid(800).value, 0);
  EXPECT_EQ(neg_log_sigmoid(-800).value, 800);
  for (double x : {-40.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 36.0, 50.0}) {
    const long double want = std::log1p(std::exp(-static_cast<long double>(x)));
    EXPECT_NEAR(neg_log_sigmoid(x).value / static_cast<double>(want), 1.0, 1e-14)
        << x;  // a few units in the last place
    EXPECT_NEAR(exact_expm1(-std::abs(x)), static_cast<double>(std::expm1(-std::abs(static_cast<long double>(x)))),
                2e-16 * std::abs(x) + 4e-16 * (std::abs(x) > 1e-3))
        << x;
  }
}

}  // namespace
}  // namespace candor::algorithms
