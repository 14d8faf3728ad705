#include "recipes/ppo_update.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace candor::recipes {

namespace {

// A mini-batch, and the divisors of its two means.
struct MiniBatch {
  const PpoConfig& config;
  const PpoGeneration& generation;
  std::vector<int64_t> groups;
  std::vector<engine::ShardRange> shards;  // of `groups`
  int64_t tokens = 0, values = 0;

  MiniBatch(const PpoConfig& c, const PpoGeneration& g)
      : config(c),
        generation(g),
        groups(mini_batch(g, c)),
        shards(engine::shard_ranges(static_cast<int64_t>(groups.size()), c.gradient_shards)) {
    for (const int64_t number : groups) {
      tokens += static_cast<int64_t>(rows_of(number).tokens.tokens());
      values += static_cast<int64_t>(rows_of(number).values.tokens());
    }
  }

  size_t size() const { return static_cast<size_t>(generation.rollouts.group_size); }  // rows of a group
  size_t first(int64_t group) const { return static_cast<size_t>(group) * size(); }
  algorithms::PpoRows rows_of(int64_t group) const {
    const algorithms::PpoRows all = generation.rows();
    return {all.tokens.slice(first(group), size()), all.values.slice(first(group), size())};
  }
  std::span<const int64_t> shard(int64_t s) const {
    return std::span(groups).subspan(static_cast<size_t>(shards[s].begin),
                                     static_cast<size_t>(shards[s].end - shards[s].begin));
  }
  // The group's numbers among all tokens, or all value positions, of the generation.
  std::span<const double> tokens_of(int64_t group, const std::vector<double>& all) const {
    return generation.rows().tokens.tokens_of(std::span<const double>(all), first(group), size());
  }
  std::span<const double> values_of(int64_t group, const std::vector<double>& all) const {
    return generation.rows().values.tokens_of(std::span<const double>(all), first(group), size());
  }
  // Of the group's value positions, from their old values alone.
  std::vector<double> returns(int64_t group) const {
    return algorithms::gae(rows_of(group), values_of(group, generation.shaped.rewards),
                           values_of(group, generation.old_values), config.gamma, config.lam)
        .returns;
  }
  // The loss of one group, of its log-probabilities or of its values; the other is empty.
  algorithms::PpoLoss loss(int64_t group, std::span<const double> logprobs, std::span<const double> values_now) const {
    algorithms::PpoInputs in;
    in.rows = rows_of(group);
    in.mini_batch_tokens = tokens;
    in.mini_batch_values = values;
    if (!logprobs.empty()) {
      in.logprobs = logprobs;
      in.old_logprobs = tokens_of(group, generation.rollouts.logprobs);
      in.advantages = tokens_of(group, generation.advantages);
    }
    if (!values_now.empty()) {
      in.values = values_now;
      in.old_values = values_of(group, generation.old_values);
      in.returns = values_of(group, generation.returns);
    }
    return algorithms::ppo_loss(in, {config.cliprange, config.cliprange_value, config.vf_coef});
  }
};

// Adds what the rows of a group have to the mini-batch's, from row `at` on.
void add_rows(const algorithms::PpoLoss& loss, size_t at, std::vector<algorithms::PpoRow>& rows) {
  for (size_t i = 0; i < loss.rows.size(); ++i) rows[at + i] += loss.rows[i];
}

std::vector<double> as_doubles(std::span<const float> numbers) {
  return {numbers.begin(), numbers.end()};
}

}  // namespace

PpoNumbers accumulate_gradients(const engine::Context& context, const PpoConfig& config, PpoGeneration& generation,
                                const PpoTrainables& trainables, const engine::Role& critic, PpoPasses& passes,
                                const PpoGradients& gradients) {
  const MiniBatch batch(config, generation);
  const Rollouts& rollouts = generation.rollouts;
  const bool unmoved = generation.uses == 0, finds_values = generation.old_values.empty();
  const int64_t budget = micro_batch_tokens(config);
  PpoNumbers numbers;
  numbers.rows.resize(batch.groups.size() * batch.size());
  std::vector<double> entropies;  // [groups] sums
  size_t row = 0;

  if (finds_values) {
    CHECK(unmoved && static_cast<int64_t>(batch.groups.size()) == rollouts.groups);
    generation.old_values.resize(static_cast<size_t>(generation.value_offsets.back()));
    generation.returns.resize(generation.old_values.size());
  }
  gradients.critic.reduce(context, [&](int64_t shard, float* sums) {
    for (const std::vector<int64_t>& together : value_batches(generation, batch.shard(shard), budget)) {
      const std::vector<float> values = values_of(passes.critic(), critic, generation, together);
      std::vector<float> d_values;
      for (const int64_t group : together) {
        const auto first = static_cast<size_t>(generation.value_offsets[batch.first(group)]);
        const std::span<const double> old = batch.values_of(group, generation.old_values);
        const auto found = std::span(values).subspan(d_values.size(), old.size());
        if (finds_values) {
          std::ranges::copy(found, generation.old_values.begin() + static_cast<std::ptrdiff_t>(first));
          std::ranges::copy(batch.returns(group), generation.returns.begin() + static_cast<std::ptrdiff_t>(first));
        } else if (unmoved) {
          numbers.max_value_gap = wider_gap(numbers.max_value_gap, found, old);
        }
        const algorithms::PpoLoss loss = batch.loss(group, {}, as_doubles(found));
        d_values.insert(d_values.end(), loss.d_values.begin(), loss.d_values.end());
        add_rows(loss, row, numbers.rows);
        row += batch.size();
      }
      passes.critic().values_backward(trainables.critic, d_values, sums);
    }
  });
  if (finds_values) estimate(generation, config);

  row = 0;
  gradients.policy.reduce(context, [&](int64_t shard, float* sums) {
    const auto mine = batch.shard(shard);
    for (const std::vector<int64_t>& together : micro_batches({mine.begin(), mine.end()}, rollouts, budget)) {
      const engine::HeadOutput& out =
          passes.policy.forward(trainables.policy.adapter, groups_of(rollouts, together), config.temperature);
      std::vector<float> d_logprobs;
      size_t entry = 0;
      for (const int64_t group : together) {
        const std::span<const double> old = batch.tokens_of(group, rollouts.logprobs);
        const auto found = std::span(out.logprobs).subspan(entry, old.size());
        numbers.max_log_ratio = wider_gap(numbers.max_log_ratio, found, old);
        if (unmoved) numbers.max_gap = wider_gap(numbers.max_gap, found, old);
        const algorithms::PpoLoss loss = batch.loss(group, as_doubles(found), {});
        d_logprobs.insert(d_logprobs.end(), loss.d_logprobs.begin(), loss.d_logprobs.end());
        add_rows(loss, row, numbers.rows);
        entropies.push_back(0);
        for (const float entropy : std::span(out.entropy).subspan(entry, old.size()))
          entropies.back() += static_cast<double>(entropy);
        entry += old.size();
        row += batch.size();
      }
      passes.policy.backward(trainables.policy, d_logprobs, std::vector<float>(d_logprobs.size()), sums);
    }
  });

  for (const double sum : entropies) numbers.entropy += sum / static_cast<double>(std::max<int64_t>(batch.tokens, 1));
  for (const algorithms::PpoRow& of_row : numbers.rows)
    numbers.loss += of_row.policy_loss + config.vf_coef * of_row.value_loss;
  return numbers;
}

}  // namespace candor::recipes
