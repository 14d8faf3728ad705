#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/math.h"
#include "engine/head.h"
#include "engine/sampler.h"

namespace candor::engine {

namespace {

HeadState statistics_of(const Kernels& kernels, const float* logits, int64_t vocabulary, float inverse_temperature) {
  HeadState state = initial_head_state();
  for (int64_t first = 0; first < vocabulary; first += kVocabularyBlock)
    kernels.head_block(logits + first, std::min(kVocabularyBlock, vocabulary - first), first, inverse_temperature, -1,
                       &state);
  return state;
}

// The log-probability that head_forward reports for this target: same state, same arithmetic.
float logprob_of(HeadState state, float logit, float inverse_temperature) {
  state.target = logit * inverse_temperature;
  return finish(state).logprob;
}

// The first index whose cumulative probability exceeds uniform·total; the last with any probability at the end.
template <typename Probability>
int64_t pick(int64_t count, double uniform, Probability&& probability) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += probability(i);
  const double threshold = uniform * total;
  double sum = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double p = probability(i);
    if (p == 0) continue;
    last = i;
    sum += p;
    if (sum > threshold) return i;
  }
  return last;
}

// What top-k and then top-p leave, likeliest first, ties by id.
std::vector<int32_t> truncate(const std::vector<float>& probabilities, const SamplingOptions& options) {
  const auto vocabulary = static_cast<int64_t>(probabilities.size());
  // Tokens below (1 - top_p)/V weigh less than 1 - top_p together, so none of them can be in the nucleus.
  const double floor =
      options.top_p < 1.0 && options.top_k == 0 ? (1.0 - options.top_p) / static_cast<double>(vocabulary) : 0.0;
  std::vector<int32_t> ids;
  for (int64_t id = 0; id < vocabulary; ++id)
    if (static_cast<double>(probabilities[id]) >= floor) ids.push_back(static_cast<int32_t>(id));
  auto likelier = [&](int32_t a, int32_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  };
  if (options.top_k > 0 && options.top_k < static_cast<int64_t>(ids.size())) {
    std::nth_element(ids.begin(), ids.begin() + options.top_k - 1, ids.end(), likelier);
    ids.resize(options.top_k);
  }
  std::sort(ids.begin(), ids.end(), likelier);
  if (options.top_p < 1.0) {
    double total = 0, sum = 0;
    if (options.top_k > 0)
      for (int32_t id : ids) total += static_cast<double>(probabilities[id]);
    else
      for (float p : probabilities) total += static_cast<double>(p);
    size_t kept = 0;
    while (kept < ids.size() && (kept == 0 || sum < options.top_p * total))
      sum += static_cast<double>(probabilities[ids[kept++]]);
    ids.resize(kept);
  }
  return ids;
}

}  // namespace

Draw draw_token(const Kernels& kernels, const float* logits, int64_t vocabulary, const SamplingOptions& options,
                double uniform, std::vector<float>& scratch) {
  const HeadState plain = statistics_of(kernels, logits, vocabulary, 1.0f);
  if (options.temperature == 0) {
    const int32_t token = plain.argmax;
    const float logprob = logprob_of(plain, logits[token], 1.0f);
    return {token, logprob, logprob, 0.0f, finish(plain).entropy};
  }
  const auto inverse = static_cast<float>(1.0 / options.temperature);
  const HeadState state = inverse == 1.0f ? plain : statistics_of(kernels, logits, vocabulary, inverse);
  const RowStatistics row = finish(state);
  scratch.resize(static_cast<size_t>(vocabulary));
  kernels.exp_row(logits, vocabulary, inverse, static_cast<float>(row.log_sum), scratch.data());
  int32_t token = 0;
  double log_kept = 0;  // ln of the probability that truncation left
  if (options.top_k > 0 || options.top_p < 1.0) {
    const std::vector<int32_t> ids = truncate(scratch, options);
    auto probability = [&](int64_t i) { return static_cast<double>(scratch[ids[i]]); };
    token = ids[pick(static_cast<int64_t>(ids.size()), uniform, probability)];
    double kept = 0;
    for (int32_t id : ids) kept += static_cast<double>(scratch[id]);
    log_kept = exact_log(kept);
  } else {
    token = static_cast<int32_t>(pick(vocabulary, uniform, [&](int64_t i) { return static_cast<double>(scratch[i]); }));
  }
  const float policy = logprob_of(state, logits[token], inverse);
  return {token, logprob_of(plain, logits[token], 1.0f), policy,
          log_kept == 0 ? policy : static_cast<float>(static_cast<double>(policy) - log_kept), row.entropy};
}

}  // namespace candor::engine
