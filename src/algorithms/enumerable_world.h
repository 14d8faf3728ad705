// For tests: a world so small that every completion, and every group of completions, can be listed, so that the exact
// expectation of any estimator's gradient can be held against theory (docs/enumerable_world.md).
//
// There is one prompt. A completion is a string of symbols that ends with the stop token or is cut at max_length
// tokens. The policy is tabular: a row of logits for each prefix. Rewards are a number per completion.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms::testing {

struct WorldCompletion {
  std::vector<size_t> tokens;  // the last symbol of the vocabulary is the stop token
  std::vector<size_t> states;  // the prefix before each token
  bool ended = false;
};

struct World {
  size_t vocabulary = 0, states = 0;
  std::vector<WorldCompletion> completions;
};

// symbols besides the stop token.
inline World make_world(size_t symbols, size_t max_length) {
  World world{symbols + 1, 0, {}};
  std::function<void(WorldCompletion)> extend = [&](WorldCompletion prefix) {
    const size_t state = world.states++;
    for (size_t token = 0; token <= symbols; ++token) {
      WorldCompletion next = prefix;
      next.tokens.push_back(token);
      next.states.push_back(state);
      next.ended = token == symbols;
      if (next.ended || next.tokens.size() == max_length)
        world.completions.push_back(next);
      else
        extend(next);
    }
  };
  extend({});
  return world;
}

// A number per logit, [states,vocabulary]: a policy's logits, or a gradient by them.
using Table = std::vector<double>;

inline Table softmax_log(const World& world, const Table& logits) {
  Table out = logits;
  for (size_t s = 0; s < world.states; ++s) {
    double sum = 0;
    for (size_t v = 0; v < world.vocabulary; ++v) sum += std::exp(logits[s * world.vocabulary + v]);
    for (size_t v = 0; v < world.vocabulary; ++v) out[s * world.vocabulary + v] -= std::log(sum);
  }
  return out;
}

// ln p of each token of a completion.
inline std::vector<double> token_logprobs(const World& world, const Table& logits, const WorldCompletion& c) {
  const Table all = softmax_log(world, logits);
  std::vector<double> out;
  for (size_t t = 0; t < c.tokens.size(); ++t) out.push_back(all[c.states[t] * world.vocabulary + c.tokens[t]]);
  return out;
}

// [completions] their probabilities.
inline std::vector<double> probabilities(const World& world, const Table& logits) {
  std::vector<double> out;
  for (const WorldCompletion& c : world.completions) {
    double sum = 0;
    for (double lp : token_logprobs(world, logits, c)) sum += lp;
    out.push_back(std::exp(sum));
  }
  return out;
}

// gradient += scale · Σ_t d_logprobs[t] · ∂ logprob_t / ∂ logits.
inline void add_gradient(const World& world, const Table& logits, const WorldCompletion& c,
                         std::span<const double> d_logprobs, double scale, Table& gradient) {
  const Table all = softmax_log(world, logits);
  for (size_t t = 0; t < c.tokens.size(); ++t)
    for (size_t v = 0; v < world.vocabulary; ++v) {
      const size_t at = c.states[t] * world.vocabulary + v;
      gradient[at] += scale * d_logprobs[t] * ((v == c.tokens[t] ? 1.0 : 0.0) - std::exp(all[at]));
    }
}

// ∂ / ∂ logits of Σ_y π(y)·f(y), f held constant.
inline Table gradient_of_mean(const World& world, const Table& logits, const std::function<double(size_t)>& f) {
  Table gradient(logits.size(), 0.0);
  const auto p = probabilities(world, logits);
  for (size_t y = 0; y < p.size(); ++y) {
    const std::vector<double> ones(world.completions[y].tokens.size(), 1.0);
    add_gradient(world, logits, world.completions[y], ones, p[y] * f(y), gradient);
  }
  return gradient;
}

// Completions that were drawn together, as the losses take them.
struct WorldBatch {
  std::vector<size_t> drawn;           // indices into the world's completions
  std::vector<int64_t> offsets = {0};  // of their tokens
  std::vector<double> logprobs, reference;
  RaggedRows rows() const { return {offsets, {}}; }
};

inline WorldBatch batch_of(const World& world, const Table& logits, const Table& reference, std::vector<size_t> drawn) {
  WorldBatch batch;
  batch.drawn = std::move(drawn);
  for (size_t y : batch.drawn) {
    const auto lp = token_logprobs(world, logits, world.completions[y]);
    const auto ref = token_logprobs(world, reference, world.completions[y]);
    batch.logprobs.insert(batch.logprobs.end(), lp.begin(), lp.end());
    batch.reference.insert(batch.reference.end(), ref.begin(), ref.end());
    batch.offsets.push_back(static_cast<int64_t>(batch.logprobs.size()));
  }
  return batch;
}

// The exact expectation of an estimator over all ordered draws of `size` completions: `d_logprobs` gives the derivative
// of the *loss* by each token's log-probability; what is returned is the expected *ascent* direction, minus that.
inline Table expected_ascent(const World& world, const Table& logits, const Table& reference, size_t size,
                             const std::function<std::vector<double>(const WorldBatch&)>& d_logprobs) {
  Table gradient(logits.size(), 0.0);
  const auto p = probabilities(world, logits);
  std::vector<size_t> drawn(size, 0);
  while (true) {
    double probability = 1.0;
    for (size_t y : drawn) probability *= p[y];
    const WorldBatch batch = batch_of(world, logits, reference, drawn);
    const auto d = d_logprobs(batch);
    for (size_t i = 0; i < size; ++i)
      add_gradient(
          world, logits, world.completions[drawn[i]],
          std::span<const double>(d).subspan(batch.rows().begin(i), batch.rows().end(i) - batch.rows().begin(i)),
          -probability, gradient);
    size_t digit = 0;
    while (digit < size && ++drawn[digit] == p.size()) drawn[digit++] = 0;
    if (digit == size) return gradient;
  }
}

inline double largest_difference(const Table& a, const Table& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

inline Table scaled(Table table, double factor) {
  for (double& x : table) x *= factor;
  return table;
}

}  // namespace candor::algorithms::testing
