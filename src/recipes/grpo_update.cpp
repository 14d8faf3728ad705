#include "recipes/grpo_update.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "algorithms/entropy.h"
#include "recipes/grpo_options.h"
#include "recipes/online_pairs.h"

namespace candor::recipes {

namespace {

// The rows of one step and what is made of them once, before they are split. Groups and rows count from the slice's
// first; token arrays begin at its first token.
class Slice {
 public:
  Slice(const GrpoConfig& config, const Generation& generation, double entropy_coefficient)
      : config_(config),
        generation_(generation),
        options_(config.compares_pairs() ? algorithms::GrpoOptions() : loss_options(config)),
        entropy_coefficient_(entropy_coefficient),
        group_size_(static_cast<size_t>(config.num_generations)),
        first_group_(generation.uses % config.slices() * config.groups_per_step()),
        first_row_(static_cast<size_t>(first_group_) * group_size_),
        rows_(generation.rows().slice(first_row_, static_cast<size_t>(config.groups_per_step()) * group_size_)) {
    if (config.compares_pairs()) return;
    row_weights_ = algorithms::loss_normalizer(rows_, options_.loss_type,
                                               {.max_completion_length = config.max_completion_length,
                                                .local_batch_rows = config.per_device_train_batch_size,
                                                .accumulation_steps = config.gradient_accumulation_steps,
                                                .step_tokens = step_tokens()})
                       .row_weights;
    if (!coupled()) weigh_entropies();
  }

  int64_t groups() const { return config_.groups_per_step(); }
  int64_t number(int64_t group) const { return first_group_ + group; }  // in the generation
  const algorithms::RaggedRows& rows() const { return rows_; }
  // Whether a row's coefficients depend on the other rows' entropies.
  bool coupled() const { return config_.top_entropy_quantile < 1; }

  // The tokens of the generation's array that are the slice's.
  std::span<const double> cut(const std::vector<double>& all) const {
    return generation_.rows().tokens_of(std::span<const double>(all), first_row_, rows_.size());
  }

  // Entropies of the whole slice: the tokens that they choose, where the loss is coupled.
  void know_entropies(std::span<const double> entropies) {
    if (!coupled()) return;
    kept_ = algorithms::top_entropy_mask(rows_, entropies, config_.top_entropy_quantile,
                                         config_.per_device_train_batch_size);
    weigh_entropies();
  }

  // The loss of `count` groups from `group` on, from the log-probabilities and entropies of their tokens alone.
  algorithms::GrpoLoss loss(int64_t group, int64_t count, std::span<const double> logprobs,
                            std::span<const double> entropies) const {
    const size_t first = static_cast<size_t>(group) * group_size_, n = static_cast<size_t>(count) * group_size_;
    auto tokens = [&](std::span<const double> all) { return rows_.tokens_of(all, first, n); };
    auto per_row = [&](std::span<const double> all) { return all.empty() ? all : all.subspan(first, n); };
    const auto advantages = std::span<const double>(generation_.advantages.advantages).subspan(first_row_ + first, n);
    if (config_.compares_pairs())
      return online_pair_loss(config_,
                              {rows_.slice(first, n), logprobs, tokens(cut(generation_.reference)), advantages,
                               std::span<const double>(generation_.advantages.rewards).subspan(first_row_ + first, n),
                               config_.groups_per_step()});
    algorithms::GrpoInputs in;
    in.rows = rows_.slice(first, n);
    in.logprobs = logprobs;
    in.old_logprobs = tokens(cut(generation_.rollouts.logprobs));
    in.entropies = entropies;
    in.reference_logprobs = tokens(cut(generation_.reference));
    in.advantages = advantages;
    in.token_advantages = tokens(cut(generation_.token_advantages));
    in.row_weights = per_row(row_weights_);
    in.policy_mask = rows_.tokens_of(std::span<const uint8_t>(kept_), first, n);
    in.entropy_weights = per_row(entropy_weights_);
    return algorithms::grpo_loss(in, options_);
  }

  // Whether some row of the group may have a coefficient, before the log-probabilities are known.
  bool may_train(int64_t group) const {
    if (options_.beta != 0 || entropy_coefficient_ != 0 || config_.recipe == GroupRecipe::kNashMd) return true;
    const size_t first = static_cast<size_t>(group) * group_size_;
    const auto moves = [](double advantage) { return advantage != 0; };
    const auto tokens = rows_.tokens_of(cut(generation_.token_advantages), first, group_size_);
    if (!tokens.empty()) return std::any_of(tokens.begin(), tokens.end(), moves);
    const auto rows =
        std::span<const double>(generation_.advantages.advantages).subspan(first_row_ + first, group_size_);
    return std::any_of(rows.begin(), rows.end(), moves);
  }

  double mean_kept(std::span<const double> entropies) const {
    double sum = 0, count = 0;
    for (size_t t = 0; t < entropies.size(); ++t) {
      if (!rows_.counts(t) || (!kept_.empty() && !kept_[t])) continue;
      sum += entropies[t];
      ++count;
    }
    return sum / std::max(count, 1.0);
  }

 private:
  // dapo's denominator; 0: the step's own tokens.
  double step_tokens() const {
    if (config_.dapo_denominator == "step") return 0;
    return static_cast<double>(generation_.rows().counted()) / static_cast<double>(config_.slices());
  }

  void weigh_entropies() {
    if (entropy_coefficient_ == 0) return;
    entropy_weights_ = algorithms::entropy_bonus_weights(
        rows_, kept_, entropy_coefficient_, config_.per_device_train_batch_size, config_.gradient_accumulation_steps);
  }

  const GrpoConfig& config_;
  const Generation& generation_;
  algorithms::GrpoOptions options_;
  double entropy_coefficient_;
  size_t group_size_;
  int64_t first_group_;
  size_t first_row_;
  algorithms::RaggedRows rows_;
  std::vector<double> row_weights_, entropy_weights_;  // [rows]
  std::vector<uint8_t> kept_;                          // [tokens], empty: all
};

// What is known of a slice's tokens, and the loss that follows from it, group by group.
struct Known {
  std::vector<double> logprobs, entropies, d_logprobs, d_entropies;  // [tokens] of the slice
};

void put(std::span<const float> from, std::span<double> to) {
  std::copy(from.begin(), from.end(), to.begin());
}

}  // namespace

StepNumbers accumulate_gradients(const engine::Context& context, const GrpoConfig& config, const Generation& generation,
                                 double entropy_coefficient, const engine::Trainable& trainable,
                                 engine::PolicyPass& pass, engine::GradientShards& shards) {
  Slice slice(config, generation, entropy_coefficient);
  const Rollouts& rollouts = generation.rollouts;
  const auto group_size = static_cast<size_t>(config.num_generations);
  const bool fresh = generation.uses == 0, on_policy = fresh && !config.samples_another();
  const int64_t budget = micro_batch_tokens(config);
  StepNumbers numbers;
  numbers.rows.resize(slice.rows().size());
  const size_t all_tokens = slice.rows().tokens();
  Known known{std::vector<double>(all_tokens), std::vector<double>(all_tokens), std::vector<double>(all_tokens),
              std::vector<double>(all_tokens)};
  std::vector<int64_t> every(static_cast<size_t>(slice.groups()));
  std::iota(every.begin(), every.end(), slice.number(0));

  // The tokens of groups first .. first + count, numbered as in the generation.
  auto tokens_of = [&](std::vector<double>& values, int64_t first, int64_t count = 1) {
    return slice.rows().tokens_of(std::span<double>(values), static_cast<size_t>(first - slice.number(0)) * group_size,
                                  static_cast<size_t>(count) * group_size);
  };
  auto compute_loss = [&](int64_t first, int64_t count) {
    const int64_t in_slice = first - slice.number(0);
    const algorithms::GrpoLoss loss =
        slice.loss(in_slice, count, tokens_of(known.logprobs, first, count), tokens_of(known.entropies, first, count));
    std::copy(loss.rows.begin(), loss.rows.end(),
              numbers.rows.begin() + in_slice * static_cast<std::ptrdiff_t>(group_size));
    std::copy(loss.d_logprobs.begin(), loss.d_logprobs.end(), tokens_of(known.d_logprobs, first, count).begin());
    std::copy(loss.d_entropies.begin(), loss.d_entropies.end(), tokens_of(known.d_entropies, first, count).begin());
  };
  const auto sampled = slice.cut(rollouts.logprobs);
  // Of the group's rows that the policy sampled.
  auto measure_gap = [&](int64_t g, std::span<const float> found) {
    const auto reported = slice.rows().tokens_of(sampled, static_cast<size_t>(g - slice.number(0)) * group_size,
                                                 config.samples_another() ? 1 : group_size);
    numbers.max_gap = wider_gap(numbers.max_gap, found.first(reported.size()), reported);
  };
  // `learn`: what the pass finds becomes what is known.
  auto forward = [&](const std::vector<int64_t>& batch, bool learn) {
    const engine::HeadOutput& out =
        pass.forward(trainable.adapter, groups_of(rollouts, batch), config.policy_temperature());
    size_t entry = 0;
    for (int64_t g : batch) {
      const auto logprobs = tokens_of(known.logprobs, g);
      const auto found = std::span<const float>(out.logprobs).subspan(entry, logprobs.size());
      if (fresh) measure_gap(g, found);
      if (learn) {
        put(found, logprobs);
        put(std::span<const float>(out.entropy).subspan(entry, logprobs.size()), tokens_of(known.entropies, g));
      }
      entry += logprobs.size();
    }
  };

  // 1. The loss of the whole slice, where its log-probabilities are known before it trains.
  const bool ahead = on_policy || slice.coupled();
  if (on_policy) {
    std::ranges::copy(slice.cut(rollouts.logprobs), known.logprobs.begin());
    std::ranges::copy(slice.cut(rollouts.entropies), known.entropies.begin());
  } else if (slice.coupled()) {
    for (const auto& batch : micro_batches(every, rollouts, budget)) forward(batch, true);
  }
  if (ahead) {
    slice.know_entropies(known.entropies);
    compute_loss(slice.number(0), slice.groups());
  }

  // 2. Which groups can move a weight; the others are only measured.
  std::vector<int64_t> live, still;
  for (int64_t g : every) {
    auto moves = [&](std::vector<double>& d) {
      const auto own = tokens_of(d, g);
      return std::any_of(own.begin(), own.end(), [](double x) { return x != 0; });
    };
    const bool lives =
        ahead ? moves(known.d_logprobs) || moves(known.d_entropies) : slice.may_train(g - slice.number(0));
    (lives ? live : still).push_back(g);
  }
  if (!ahead)
    for (const auto& batch : micro_batches(still, rollouts, budget)) {
      forward(batch, true);
      for (int64_t g : batch) compute_loss(g, 1);
    }
  if (on_policy && live.empty()) forward({every.front()}, false);  // nothing to train, but the gap is always measured

  // 3. The training passes, shard by shard.
  const std::vector<engine::ShardRange> ranges = engine::shard_ranges(slice.groups(), config.gradient_shards);
  shards.reduce(context, [&](int64_t shard, float* gradients) {
    std::vector<int64_t> mine;
    for (int64_t g : live)
      if (g >= slice.number(ranges[shard].begin) && g < slice.number(ranges[shard].end)) mine.push_back(g);
    for (const std::vector<int64_t>& batch : micro_batches(mine, rollouts, budget)) {
      forward(batch, !ahead);
      std::vector<float> d_logprobs, d_entropies;
      for (int64_t g : batch) {
        if (!ahead) compute_loss(g, 1);
        const auto by_logprob = tokens_of(known.d_logprobs, g), by_entropy = tokens_of(known.d_entropies, g);
        d_logprobs.insert(d_logprobs.end(), by_logprob.begin(), by_logprob.end());
        d_entropies.insert(d_entropies.end(), by_entropy.begin(), by_entropy.end());
      }
      pass.backward(trainable, d_logprobs, d_entropies, gradients);
    }
  });

  for (const algorithms::GrpoRow& row : numbers.rows) {
    numbers.loss += row.loss;
    numbers.policy_loss += row.loss + row.entropy_bonus;
  }
  numbers.kept_entropy = slice.mean_kept(known.entropies);
  numbers.logprobs = std::move(known.logprobs);
  return numbers;
}

}  // namespace candor::recipes
