#include "recipes/online_pairs.h"

#include <algorithm>
#include <cmath>

#include "algorithms/dpo.h"
#include "algorithms/online_preference.h"
#include "base/check.h"

namespace candor::recipes {

namespace {

bool is_scored(const OnlinePairs& in, size_t pair) {
  return !std::isnan(in.rewards[2 * pair]) && !std::isnan(in.rewards[2 * pair + 1]);
}

// The scored pairs with the chosen row first, as the losses on pairs want them.
struct Ordered {
  std::vector<int64_t> offsets = {0};
  std::vector<double> logprobs, reference;
  std::vector<size_t> places;                // [tokens] in the arrays that came
  std::vector<size_t> pairs;                 // their numbers
  std::vector<uint8_t> reference_is_chosen;  // XPO: the second row as it came is the reference's

  explicit Ordered(const OnlinePairs& in) {
    for (size_t pair = 0; 2 * pair < in.rows.size(); ++pair) {
      if (!is_scored(in, pair)) continue;
      pairs.push_back(pair);
      const bool swapped = in.advantages[2 * pair] < 0;
      reference_is_chosen.push_back(swapped);
      append(in, 2 * pair + (swapped ? 1 : 0));
      append(in, 2 * pair + (swapped ? 0 : 1));
    }
  }

  algorithms::PreferenceInputs inputs(int64_t step_pairs) const {
    algorithms::PreferenceInputs in;
    in.rows = {offsets, {}};
    in.logprobs = logprobs;
    in.reference_logprobs = reference;
    in.pairs = step_pairs;
    return in;
  }

 private:
  void append(const OnlinePairs& in, size_t row) {
    for (size_t t = in.rows.begin(row); t < in.rows.end(row); ++t) {
      logprobs.push_back(in.logprobs[t]);
      reference.push_back(in.reference[t]);
      places.push_back(t);
    }
    offsets.push_back(static_cast<int64_t>(places.size()));
  }
};

algorithms::PreferenceLoss dpo_part(const GrpoConfig& config, const algorithms::PreferenceInputs& in) {
  algorithms::DpoOptions options;
  options.losses = {{config.loss_type == "ipo" ? algorithms::DpoType::kIpo : algorithms::DpoType::kSigmoid, 1.0}};
  options.beta = config.beta;
  options.ipo_of_sums = true;
  auto loss = algorithms::dpo_loss(in, options);
  CHECK(loss);  // only the type sft can fail
  return std::move(*loss);
}

// Of the policy's completion of one pair.
algorithms::NashLoss nash_part(const GrpoConfig& config, const OnlinePairs& in, size_t pair) {
  const double win_probability = in.advantages[2 * pair] + 0.5;
  return algorithms::nash_md_loss({in.rows.slice(2 * pair, 1),
                                   in.rows.tokens_of(in.logprobs, 2 * pair, 1),
                                   in.rows.tokens_of(in.reference, 2 * pair, 1),
                                   {&win_probability, 1},
                                   in.step_pairs},
                                  config.beta);
}

void add_dpo_pairs(const GrpoConfig& config, const OnlinePairs& in, algorithms::GrpoLoss& out) {
  const Ordered ordered(in);
  if (ordered.pairs.empty()) return;
  const algorithms::PreferenceInputs inputs = ordered.inputs(in.step_pairs);
  algorithms::PreferenceLoss loss = dpo_part(config, inputs);
  if (config.recipe == GroupRecipe::kXpo)
    algorithms::add_xpo_term(inputs, ordered.reference_is_chosen, config.alpha, loss);
  for (size_t i = 0; i < ordered.pairs.size(); ++i) out.rows[2 * ordered.pairs[i]].loss = loss.pairs[i].loss;
  for (size_t t = 0; t < ordered.places.size(); ++t) out.d_logprobs[ordered.places[t]] = loss.d_logprobs[t];
}

void add_nash_pairs(const GrpoConfig& config, const OnlinePairs& in, algorithms::GrpoLoss& out) {
  for (size_t pair = 0; 2 * pair < in.rows.size(); ++pair) {
    if (!is_scored(in, pair)) continue;
    const algorithms::NashLoss loss = nash_part(config, in, pair);
    out.rows[2 * pair].loss = loss.loss;
    std::copy(loss.d_logprobs.begin(), loss.d_logprobs.end(),
              out.d_logprobs.begin() + static_cast<std::ptrdiff_t>(in.rows.begin(2 * pair)));
  }
}

// What is about the policy's own samples and the scores of all.
algorithms::Metrics objective_metrics(const GrpoConfig& config, const OnlinePairs& pairs,
                                      std::span<const uint8_t> finished) {
  const auto score = [&](size_t row) {
    return pairs.rewards[row] - (finished[row] ? 0.0 : config.missing_eos_penalty.value_or(0.0));
  };
  double margin = 0, scored_pairs = 0, scores = 0, kl = 0, rlhf = 0, nll = 0, ended = 0, rows = 0, scored = 0;
  for (size_t i = 0; i < pairs.rows.size(); ++i) {
    if (i % 2 == 0 && is_scored(pairs, i / 2)) {
      const double difference = score(i) - score(i + 1);
      const bool first_is_chosen = config.recipe == GroupRecipe::kNashMd || pairs.advantages[i] > 0;
      margin += first_is_chosen ? difference : -difference;
      ++scored_pairs;
    }
    if (config.samples_another() && i % 2 == 1) continue;
    const double row = algorithms::row_sum(pairs.rows, pairs.logprobs, i);
    const double log_ratio = row - algorithms::row_sum(pairs.rows, pairs.reference, i);
    nll -= row;
    kl += log_ratio;
    ended += finished[i];
    ++rows;
    if (std::isnan(pairs.rewards[i])) continue;
    scores += score(i);
    rlhf += score(i) - config.beta * log_ratio;
    ++scored;
  }
  const auto mean = [](double sum, double count) { return sum / std::max(count, 1.0); };
  return {{"objective/scores_margin", mean(margin, scored_pairs)},
          {"objective/scores", mean(scores, scored)},
          {"objective/kl", mean(kl, rows)},
          {"objective/non_score_reward", -config.beta * mean(kl, rows)},
          {"objective/rlhf_reward", mean(rlhf, scored)},
          {"objective/entropy", mean(nll, rows)},
          {"val/contain_eos_token", mean(ended, rows)},
          {"beta", config.beta}};
}

}  // namespace

algorithms::GrpoLoss online_pair_loss(const GrpoConfig& config, const OnlinePairs& in) {
  algorithms::GrpoLoss out;
  out.rows.resize(in.rows.size());
  out.d_logprobs.assign(in.rows.tokens(), 0.0);
  for (size_t i = 0; i < in.rows.size(); ++i) out.rows[i].tokens = in.rows.counted(i);
  if (config.recipe == GroupRecipe::kNashMd)
    add_nash_pairs(config, in, out);
  else
    add_dpo_pairs(config, in, out);
  return out;
}

algorithms::Metrics online_pair_metrics(const GrpoConfig& config, const Generation& generation,
                                        std::span<const double> logprobs) {
  const Rollouts& rollouts = generation.rollouts;
  const OnlinePairs pairs{generation.rows(),
                          logprobs,
                          generation.reference,
                          generation.advantages.advantages,
                          generation.advantages.rewards,
                          rollouts.groups};
  algorithms::Metrics out = objective_metrics(config, pairs, rollouts.finished);
  if (config.recipe == GroupRecipe::kNashMd) {
    double score = 0, kl = 0, probability = 0, count = 0;
    for (size_t pair = 0; 2 * pair < pairs.rows.size(); ++pair) {
      if (!is_scored(pairs, pair)) continue;
      const algorithms::NashLoss loss = nash_part(config, pairs, pair);
      score += loss.score;
      kl += loss.kl;
      probability += pairs.advantages[2 * pair] + 0.5;
      ++count;
    }
    out.push_back({"loss/score", score});
    out.push_back({"loss/kl", kl});
    out.push_back({"rewards/probabilities", probability / std::max(count, 1.0)});
    return out;
  }
  const Ordered ordered(pairs);
  const algorithms::PreferenceInputs inputs = ordered.inputs(pairs.step_pairs);
  const algorithms::PreferenceLoss dpo = dpo_part(config, inputs);
  for (const algorithms::Metric& metric : algorithms::preference_metrics(dpo.pairs)) out.push_back(metric);
  if (config.recipe == GroupRecipe::kXpo) {
    algorithms::PreferenceLoss both = dpo;
    algorithms::add_xpo_term(inputs, ordered.reference_is_chosen, config.alpha, both);
    out.push_back({"loss/dpo", dpo.loss()});
    out.push_back({"loss/xpo", both.loss() - dpo.loss()});
  }
  return out;
}

}  // namespace candor::recipes
