// The exact expectation of every policy-gradient estimator in a world that can be listed, against theory: what is
// unbiased is so to the last digits, what is biased is biased by the stated amount, and the optimum is where theory
// puts it. Nothing is sampled. docs/enumerable_world.md has the derivations.
#include "algorithms/enumerable_world.h"

#include <gtest/gtest.h>

#include "algorithms/advantages.h"
#include "algorithms/dpo.h"
#include "algorithms/grpo.h"
#include "algorithms/kl.h"
#include "algorithms/ppo.h"
#include "algorithms/rloo.h"

namespace candor::algorithms::testing {
namespace {

// Expectations add up to 2,401 products of numbers below 10: rounding stays below this.
constexpr double kExact = 1e-12;

// Two symbols and at most two tokens: seven completions of one and two tokens.
struct Setting {
  World world = make_world(2, 2);
  Table policy, reference;
  std::vector<double> rewards;  // [7]

  Setting() {
    for (size_t i = 0; i < world.states * world.vocabulary; ++i) {
      policy.push_back(std::sin(1.7 * static_cast<double>(i)));
      reference.push_back(0.6 * std::cos(2.3 * static_cast<double>(i)));
    }
    for (size_t y = 0; y < world.completions.size(); ++y)
      rewards.push_back(std::cos(1.1 * static_cast<double>(y)) + 0.3);
  }
  std::vector<double> rewards_of(const WorldBatch& batch) const {
    std::vector<double> out;
    for (size_t y : batch.drawn) out.push_back(rewards[y]);
    return out;
  }
  double length(size_t y) const { return static_cast<double>(world.completions[y].tokens.size()); }
  double mean(const std::function<double(size_t)>& f) const {
    const auto p = probabilities(world, policy);
    double sum = 0;
    for (size_t y = 0; y < p.size(); ++y) sum += p[y] * f(y);
    return sum;
  }
  Table d_reward() const {  // ∇J
    return gradient_of_mean(world, policy, [&](size_t y) { return rewards[y]; });
  }
  double log_ratio(size_t y) const {
    double sum = 0;
    const auto lp = token_logprobs(world, policy, world.completions[y]);
    const auto ref = token_logprobs(world, reference, world.completions[y]);
    for (size_t t = 0; t < lp.size(); ++t) sum += lp[t] - ref[t];
    return sum;
  }
  // ∇(J - β·KL): KL's own gradient is Σ_y ∇π(y)·ln(π/π_ref), since Σ_y π·∇ln π = 0.
  Table d_objective(double beta) const {
    return gradient_of_mean(world, policy, [&](size_t y) { return rewards[y] - beta * log_ratio(y); });
  }
};

// The on-policy group loss's derivatives for one group.
std::vector<double> group_slopes(const WorldBatch& batch, LossType type, std::span<const double> advantages,
                                 RatioLevel level = RatioLevel::kToken, double beta = 0, KlInLoss kl = KlInLoss::kK2) {
  const auto weights = loss_normalizer(batch.rows(), type, {2, 0, 1, 0}).row_weights;
  GrpoOptions options;
  options.loss_type = type;
  options.importance_sampling_level = level;
  options.epsilon_high = 5.0;
  options.beta = beta;
  options.kl_in_loss = kl;
  GrpoInputs in;
  in.rows = batch.rows();
  in.logprobs = batch.logprobs;
  in.old_logprobs = batch.logprobs;
  in.reference_logprobs = batch.reference;
  in.advantages = advantages;
  in.row_weights = weights;
  return grpo_loss(in, options).d_logprobs;
}

std::vector<double> group_advantages_of(std::span<const double> rewards, ScaleRewards scale) {
  AdvantageOptions options;
  options.scale_rewards = scale;
  return group_advantages(rewards, 1, rewards.size(), options)->advantages;
}

TEST(EnumerableWorld, ListsEveryCompletionOnce) {
  const Setting s;
  EXPECT_EQ(s.world.completions.size(), 7u);
  EXPECT_NEAR(s.mean([](size_t) { return 1.0; }), 1.0, 1e-15);
  EXPECT_EQ(make_world(2, 3).completions.size(), 15u);
}

// E[RLOO] = ∇J, and with k1 in the reward ∇(J - β·KL), at every group size.
TEST(EnumerableWorld, RlooIsUnbiased) {
  const Setting s;
  for (const size_t group : {2u, 3u}) {
    for (const double beta : {0.0, 0.7}) {
      const Table ascent = expected_ascent(s.world, s.policy, s.reference, group, [&](const WorldBatch& b) {
        auto penalties = row_kl_k1(b.rows(), b.logprobs, b.reference);
        for (double& p : penalties) p *= beta;
        const auto a = rloo_advantages(s.rewards_of(b), group, {}, penalties);
        return group_slopes(b, LossType::kGrpo, a, RatioLevel::kSequenceSum);
      });
      EXPECT_LT(largest_difference(ascent, s.d_objective(beta)), kExact) << group << " " << beta;
    }
  }
}

TEST(EnumerableWorld, RlooTwinsAreRejected) {
  const Setting s;
  const std::vector<std::pair<std::string, std::function<std::vector<double>(const WorldBatch&)>>> twins{
      {"the row in its own baseline",
       [&](const WorldBatch& b) {
         return group_slopes(b, LossType::kGrpo, group_advantages_of(s.rewards_of(b), ScaleRewards::kNone),
                             RatioLevel::kSequenceSum);
       }},
      {"the ratio length-normalised",
       [&](const WorldBatch& b) {
         return group_slopes(b, LossType::kGrpo, rloo_advantages(s.rewards_of(b), 3, {}), RatioLevel::kSequence);
       }},
  };
  for (const auto& [name, slopes] : twins)
    EXPECT_GT(largest_difference(expected_ascent(s.world, s.policy, s.reference, 3, slopes), s.d_reward()), 1e-3)
        << name;
}

// A group mean that includes the row gives (G-1)/G·∇J where the normaliser is a constant: luspo (1/N) and dr_grpo
// (1/(N·max_completion_length)).
TEST(EnumerableWorld, GroupMeanScalesByOneMinusOneOverG) {
  const Setting s;
  for (const size_t group : {2u, 3u, 4u}) {
    const double factor = static_cast<double>(group - 1) / static_cast<double>(group);
    for (const auto& [type, scale] : {std::pair{LossType::kLuspo, 1.0}, {LossType::kDrGrpo, 0.5}}) {
      const Table ascent =
          expected_ascent(s.world, s.policy, s.reference, group, [&, type = type](const WorldBatch& b) {
            return group_slopes(b, type, group_advantages_of(s.rewards_of(b), ScaleRewards::kNone));
          });
      EXPECT_LT(largest_difference(ascent, scaled(s.d_reward(), factor * scale)), kExact) << group;
    }
  }
}

// 1/length: E = (G-1)/G·(E[r·g/L] - J·E[g/L]), g = ∇ ln π(y); its second part is not 0.
TEST(EnumerableWorld, LengthNormalisationIsBiasedByTheStatedAmount) {
  const Setting s;
  const double j = s.mean([&](size_t y) { return s.rewards[y]; });
  const Table biased = gradient_of_mean(s.world, s.policy, [&](size_t y) { return (s.rewards[y] - j) / s.length(y); });
  const Table ascent = expected_ascent(s.world, s.policy, s.reference, 3, [&](const WorldBatch& b) {
    return group_slopes(b, LossType::kGrpo, group_advantages_of(s.rewards_of(b), ScaleRewards::kNone));
  });
  EXPECT_LT(largest_difference(ascent, scaled(biased, 2.0 / 3)), kExact);
  // Not even the direction is ∇J's: no factor brings the two together.
  double dot = 0, aa = 0, bb = 0;
  const Table truth = s.d_reward();
  for (size_t i = 0; i < truth.size(); ++i) {
    dot += truth[i] * ascent[i];
    aa += truth[i] * truth[i];
    bb += ascent[i] * ascent[i];
  }
  EXPECT_LT(dot / std::sqrt(aa * bb), 0.999);
}

// Reward 0 or 1 with probability P of 1. Divided by the group's standard deviation the expectation is f(P)·∇P with
// f = Σ_k Bin(k; G, P)·(k/G)(1 - k/G) / (std_k + 1e-4) / (P(1-P)): easy and hard prompts weigh more than middling ones.
TEST(EnumerableWorld, StdScalingWeighsPromptsByTheStatedFactor) {
  Setting s;
  for (double& r : s.rewards) r = r > 0.3 ? 1.0 : 0.0;
  const double p = s.mean([&](size_t y) { return s.rewards[y]; });
  for (const size_t group : {2u, 4u}) {
    const double g = static_cast<double>(group);
    double factor = 0;
    for (size_t k = 1; k < group; ++k) {
      const double share = static_cast<double>(k) / g, std = std::sqrt(g * share * (1 - share) / (g - 1));
      double ways = 1;
      for (size_t i = 0; i < k; ++i) ways *= (g - static_cast<double>(i)) / static_cast<double>(i + 1);
      factor += ways * std::pow(p, k) * std::pow(1 - p, group - k) * share * (1 - share) / (std + 1e-4);
    }
    factor /= p * (1 - p);
    const Table ascent = expected_ascent(s.world, s.policy, s.reference, group, [&](const WorldBatch& b) {
      return group_slopes(b, LossType::kLuspo, group_advantages_of(s.rewards_of(b), ScaleRewards::kGroup));
    });
    EXPECT_LT(largest_difference(ascent, scaled(s.d_reward(), factor)), kExact) << group;
    EXPECT_GT(std::abs(factor - (g - 1) / g), 0.05) << "as if it were not scaled";
  }
}

// dapo divides by the tokens that happened to be drawn: E[Σ A·g / Σ L], held against the same sum written out for
// pairs.
TEST(EnumerableWorld, RandomDenominatorIsBiasedByTheStatedAmount) {
  const Setting s;
  const auto p = probabilities(s.world, s.policy);
  Table stated(s.policy.size(), 0.0);
  for (size_t x = 0; x < p.size(); ++x) {
    const std::vector<double> ones(s.world.completions[x].tokens.size(), 1.0);
    double weight = 0;  // of g(x), over what it may have been drawn with: A is half the difference of the rewards
    for (size_t y = 0; y < p.size(); ++y) weight += p[y] * (s.rewards[x] - s.rewards[y]) / (s.length(x) + s.length(y));
    add_gradient(s.world, s.policy, s.world.completions[x], ones, p[x] * weight, stated);
  }
  const Table ascent = expected_ascent(s.world, s.policy, s.reference, 2, [&](const WorldBatch& b) {
    return group_slopes(b, LossType::kDapo, group_advantages_of(s.rewards_of(b), ScaleRewards::kNone));
  });
  EXPECT_LT(largest_difference(ascent, stated), kExact);
  const double mean_length = s.mean([&](size_t y) { return s.length(y); });
  EXPECT_GT(largest_difference(scaled(ascent, 2 * mean_length), s.d_reward()), 1e-3);
}

// On-policy every clipped, soft or weighted ratio is the policy gradient itself: grpo, cispo, sapo and gspo differ in
// the normaliser alone.
TEST(EnumerableWorld, OnPolicyLossTypesAgree) {
  const Setting s;
  const auto with = [&](LossType type, RatioLevel level) {
    return expected_ascent(s.world, s.policy, s.reference, 2, [&](const WorldBatch& b) {
      return group_slopes(b, type, group_advantages_of(s.rewards_of(b), ScaleRewards::kNone), level);
    });
  };
  const Table grpo = with(LossType::kGrpo, RatioLevel::kToken);
  EXPECT_LT(largest_difference(grpo, with(LossType::kGrpo, RatioLevel::kSequence)), kExact);  // GSPO
  EXPECT_LT(largest_difference(grpo, with(LossType::kSapo, RatioLevel::kToken)), kExact);
  EXPECT_LT(largest_difference(grpo, with(LossType::kGmpo, RatioLevel::kToken)), kExact);
  EXPECT_LT(largest_difference(with(LossType::kDapo, RatioLevel::kToken), with(LossType::kCispo, RatioLevel::kToken)),
            kExact);
  EXPECT_GT(largest_difference(grpo, with(LossType::kDapo, RatioLevel::kToken)), 1e-3);
}

// ReMax's baseline does not look at the row: unbiased. With another constant, too.
TEST(EnumerableWorld, RemaxIsUnbiased) {
  const Setting s;
  const Table ascent = expected_ascent(s.world, s.policy, s.reference, 1, [&](const WorldBatch& b) {
    const std::vector<double> greedy = {s.rewards[3]};
    return group_slopes(b, LossType::kLuspo, remax_advantages(s.rewards_of(b), greedy, 1));
  });
  EXPECT_LT(largest_difference(ascent, s.d_reward()), kExact);
}

// With k1 in the reward, each token paying for what is still to come: ∇(J - β·KL). The same where every token pays for
// the whole row.
TEST(EnumerableWorld, RemaxWithKlInTheRewardIsUnbiased) {
  const Setting s;
  const double beta = 0.7;
  const std::vector<double> greedy = {s.rewards[3]};
  const auto ascent = [&](const std::function<std::vector<double>(const WorldBatch&)>& advantages) {
    return expected_ascent(s.world, s.policy, s.reference, 1, [&](const WorldBatch& b) {
      const std::vector<double> a = advantages(b);
      std::vector<double> slopes(a.size());
      for (size_t t = 0; t < a.size(); ++t) slopes[t] = -a[t];  // the loss is Σ -A·logprob
      return slopes;
    });
  };
  const Table truth = s.d_objective(beta);
  const auto to_go = [&](const WorldBatch& b) {
    return remax_advantages_with_kl(b.rows(), s.rewards_of(b), greedy, 1, b.logprobs, b.reference, beta);
  };
  EXPECT_LT(largest_difference(ascent(to_go), truth), kExact);
  const std::vector<std::pair<std::string, std::function<std::vector<double>(const WorldBatch&)>>> twins{
      {"a token pays the KL of itself alone",
       [&](const WorldBatch& b) {
         std::vector<double> a = to_go(b);
         for (size_t t = 0; t + 1 < a.size(); ++t) a[t] += beta * (b.logprobs[t + 1] - b.reference[t + 1]);
         return a;
       }},
      {"a token pays the KL that is past",
       [&](const WorldBatch& b) {
         std::vector<double> a =
             remax_advantages_with_kl(b.rows(), s.rewards_of(b), greedy, 1, b.logprobs, b.logprobs, 1);
         double past = 0;
         for (size_t t = 0; t < a.size(); ++t) a[t] -= beta * (past += b.logprobs[t] - b.reference[t]);
         return a;
       }},
  };
  for (const auto& [name, advantages] : twins) EXPECT_GT(largest_difference(ascent(advantages), truth), 1e-3) << name;
}

// PPO's first epoch with λ = γ = 1, unwhitened, over a constant number of tokens: ∇(J - β·KL) whatever the critic says.
// With λ = 0 it is so only where the critic is right.
TEST(EnumerableWorld, PpoIsUnbiasedAtLambdaOneForAnyCritic) {
  const Setting s;
  const double beta = 0.3;
  // A critic is a number per state; the right one is the mean of what is still to come.
  std::vector<double> wrong(s.world.states), right(s.world.states, 0.0), reached(s.world.states, 0.0);
  for (size_t i = 0; i < wrong.size(); ++i) wrong[i] = std::sin(5.0 * static_cast<double>(i)) - 0.4;
  const auto p = probabilities(s.world, s.policy);
  for (size_t y = 0; y < p.size(); ++y) {
    const auto& c = s.world.completions[y];
    const auto lp = token_logprobs(s.world, s.policy, c), ref = token_logprobs(s.world, s.reference, c);
    double to_come = s.rewards[y];
    for (size_t t = c.tokens.size(); t-- > 0;) {
      to_come -= beta * (lp[t] - ref[t]);
      right[c.states[t]] += p[y] * to_come;
      reached[c.states[t]] += p[y];
    }
  }
  for (size_t i = 0; i < right.size(); ++i) right[i] /= reached[i];

  const auto ascent = [&](const std::vector<double>& critic, double lambda) {
    return expected_ascent(s.world, s.policy, s.reference, 1, [&](const WorldBatch& b) {
      const auto& c = s.world.completions[b.drawn[0]];
      std::vector<double> values;
      for (size_t state : c.states) values.push_back(critic[state]);
      const PpoRows rows{b.rows(), b.rows()};  // the score on the last token
      const std::vector<uint8_t> ended = {1};
      const auto rewards = ppo_rewards(rows, b.logprobs, b.reference, s.rewards_of(b), ended, {beta});
      const auto advantages = gae(rows, rewards.rewards, values, 1.0, lambda);
      return ppo_loss({rows, b.logprobs, b.logprobs, advantages.advantages, values, values, advantages.returns, 1, 1},
                      {})
          .d_logprobs;
    });
  };
  const Table truth = s.d_objective(beta);
  EXPECT_LT(largest_difference(ascent(wrong, 1.0), truth), kExact);
  EXPECT_LT(largest_difference(ascent(right, 0.0), truth), kExact);
  EXPECT_GT(largest_difference(ascent(wrong, 0.0), truth), 1e-3);
}

// E[k1] = E[k3] = KL; E[k2] is not. As losses, on-policy: k2's expected gradient is the KL's of each token given its
// prefix, k3's is not, and none has the part of later prefixes, which k1 in the reward has.
TEST(EnumerableWorld, KlEstimators) {
  const Setting s;
  const double kl = s.mean([&](size_t y) { return s.log_ratio(y); });
  const auto expected = [&](const std::function<double(const KlEstimates&)>& pick) {
    return s.mean([&](size_t y) {
      double sum = 0;
      const auto lp = token_logprobs(s.world, s.policy, s.world.completions[y]);
      const auto ref = token_logprobs(s.world, s.reference, s.world.completions[y]);
      for (size_t t = 0; t < lp.size(); ++t) sum += pick(kl_estimates(lp[t], ref[t]));
      return sum;
    });
  };
  EXPECT_NEAR(expected([](const KlEstimates& k) { return k.k1; }), kl, 1e-14);
  EXPECT_NEAR(expected([](const KlEstimates& k) { return k.k3; }), kl, 1e-14);
  EXPECT_GT(std::abs(expected([](const KlEstimates& k) { return k.k2; }) - kl), 1e-3);

  // Σ over prefixes of P(prefix)·∇KL(π(·|prefix) ‖ π_ref(·|prefix)), P held constant.
  Table per_token(s.policy.size(), 0.0);
  const auto p = probabilities(s.world, s.policy);
  const Table lp = softmax_log(s.world, s.policy), ref = softmax_log(s.world, s.reference);
  std::vector<double> reached(s.world.states, 0.0);
  for (size_t y = 0; y < p.size(); ++y)
    for (size_t state : s.world.completions[y].states) reached[state] += p[y];
  for (size_t state = 0; state < s.world.states; ++state) {
    double of_state = 0;
    for (size_t v = 0; v < s.world.vocabulary; ++v) {
      const size_t at = state * s.world.vocabulary + v;
      of_state += std::exp(lp[at]) * (lp[at] - ref[at]);
    }
    for (size_t v = 0; v < s.world.vocabulary; ++v) {
      const size_t at = state * s.world.vocabulary + v;
      per_token[at] = reached[state] * std::exp(lp[at]) * (lp[at] - ref[at] - of_state);
    }
  }
  const auto as_loss = [&](KlInLoss kind) {
    const std::vector<double> none = {0.0};
    return expected_ascent(s.world, s.policy, s.reference, 1, [&](const WorldBatch& b) {
      return group_slopes(b, LossType::kLuspo, none, RatioLevel::kToken, 1.0, kind);
    });
  };
  EXPECT_LT(largest_difference(as_loss(KlInLoss::kK2), scaled(per_token, -1)), kExact);
  EXPECT_LT(largest_difference(as_loss(KlInLoss::kCorrectedK3), scaled(per_token, -1)), kExact);
  EXPECT_GT(largest_difference(as_loss(KlInLoss::kK3), scaled(per_token, -1)), 1e-3);
  const Table of_sequence = gradient_of_mean(s.world, s.policy, [&](size_t y) { return s.log_ratio(y); });
  EXPECT_GT(largest_difference(per_token, of_sequence), 1e-3);
}

// π* ∝ π_ref·e^(r/β) as logits of the tabular policy: a completion's weight flows up its prefixes.
Table optimal_policy(const Setting& s, double beta) {
  const auto p = probabilities(s.world, s.reference);
  Table weights(s.policy.size(), 0.0);
  for (size_t y = 0; y < p.size(); ++y) {
    const auto& c = s.world.completions[y];
    for (size_t t = 0; t < c.tokens.size(); ++t)
      weights[c.states[t] * s.world.vocabulary + c.tokens[t]] += p[y] * std::exp(s.rewards[y] / beta);
  }
  for (double& w : weights) w = std::log(w);
  return weights;
}

TEST(EnumerableWorld, RlooWithKlInTheRewardRestsAtTheOptimum) {
  Setting s;
  const double beta = 0.5;
  s.policy = optimal_policy(s, beta);
  const auto ascent = [&](double coefficient) {
    return expected_ascent(s.world, s.policy, s.reference, 2, [&](const WorldBatch& b) {
      auto penalties = row_kl_k1(b.rows(), b.logprobs, b.reference);
      for (double& p : penalties) p *= coefficient;
      return group_slopes(b, LossType::kGrpo, rloo_advantages(s.rewards_of(b), 2, {}, penalties),
                          RatioLevel::kSequenceSum);
    });
  };
  const Table zero(s.policy.size(), 0.0);
  EXPECT_LT(largest_difference(ascent(beta), zero), kExact);
  EXPECT_GT(largest_difference(ascent(0.9 * beta), zero), 1e-3);
  // Even each single advantage is 0 there: the reward less the KL is the same for every completion.
  for (size_t y = 1; y < s.rewards.size(); ++y)
    EXPECT_NEAR(s.rewards[y] - beta * s.log_ratio(y), s.rewards[0] - beta * s.log_ratio(0), 1e-13);
}

// The same gradient climbs to that optimum from elsewhere.
TEST(EnumerableWorld, AscentArrivesAtTheOptimum) {
  Setting s;
  const double beta = 0.5;
  for (int step = 0; step < 4000; ++step) {
    const Table d = s.d_objective(beta);
    for (size_t i = 0; i < d.size(); ++i) s.policy[i] += 2.0 * d[i];
  }
  const auto reached = probabilities(s.world, s.policy), best = probabilities(s.world, optimal_policy(s, beta));
  for (size_t y = 0; y < best.size(); ++y) EXPECT_NEAR(reached[y], best[y], 1e-6);
}

// DPO on the whole population of pairs whose winner is drawn by Bradley-Terry on r: its gradient is 0 at the same π*,
// and not at the policy it started from. IPO's is not: its target is another.
TEST(EnumerableWorld, DpoOnPopulationPairsRestsAtTheOptimum) {
  Setting s;
  const double beta = 0.5;
  const auto gradient = [&](const Table& policy, DpoType type) {
    Table out(policy.size(), 0.0);
    const auto p = probabilities(s.world, s.reference);  // pairs are drawn from the reference
    for (size_t x = 0; x < p.size(); ++x)
      for (size_t y = 0; y < p.size(); ++y) {
        const double wins = sigmoid(s.rewards[x] - s.rewards[y]);
        const WorldBatch b = batch_of(s.world, policy, s.reference, {x, y});
        DpoOptions options;
        options.losses = {{type, 1.0}};
        options.beta = beta;
        const auto d = dpo_loss({b.rows(), b.logprobs, b.reference}, options).value().d_logprobs;
        for (size_t i = 0; i < 2; ++i)
          add_gradient(s.world, policy, s.world.completions[b.drawn[i]],
                       std::span<const double>(d).subspan(b.rows().begin(i), b.rows().end(i) - b.rows().begin(i)),
                       p[x] * p[y] * wins, out);
      }
    return out;
  };
  const Table zero(s.policy.size(), 0.0), best = optimal_policy(s, beta);
  EXPECT_LT(largest_difference(gradient(best, DpoType::kSigmoid), zero), kExact);
  EXPECT_GT(largest_difference(gradient(s.policy, DpoType::kSigmoid), zero), 1e-3);
  EXPECT_GT(largest_difference(gradient(best, DpoType::kIpo), zero), 1e-3);
}

}  // namespace
}  // namespace candor::algorithms::testing
