#include "engine/draw.h"

#include <algorithm>
#include <optional>

#include "base/math.h"
#include "engine/head.h"

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

// What top-k, then top-p, then min-p leave of the tokens that have any probability, likeliest first, ties by id.
std::vector<int32_t> truncate(const std::vector<float>& probabilities, const SamplingOptions& options) {
  const auto vocabulary = static_cast<int64_t>(probabilities.size());
  // Tokens below (1 - top_p)/V weigh less than 1 - top_p together, so none of them can be in the nucleus.
  const double floor =
      options.top_p < 1.0 && options.top_k == 0 ? (1.0 - options.top_p) / static_cast<double>(vocabulary) : 0.0;
  std::vector<int32_t> ids;
  for (int64_t id = 0; id < vocabulary; ++id)
    if (probabilities[id] > 0 && static_cast<double>(probabilities[id]) >= floor)
      ids.push_back(static_cast<int32_t>(id));
  if (ids.empty()) ids.push_back(0);  // a row that is not finite
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
  const double least = options.min_p * static_cast<double>(probabilities[ids.front()]);
  while (ids.size() > 1 && static_cast<double>(probabilities[ids.back()]) < least) ids.pop_back();
  return ids;
}

}  // namespace

int64_t draw_scratch_bytes(int64_t vocabulary, const SamplingOptions& options) {
  const int64_t rows = (options.temperature != 0 ? 1 : 0) + (changes_logits(options) ? 1 : 0);
  return rows * vocabulary * static_cast<int64_t>(sizeof(float));
}

Draw draw_token(const Kernels& kernels, const float* logits, int64_t vocabulary, const SamplingOptions& options,
                const TokenHistory& history, double uniform, DrawScratch& scratch) {
  const HeadState plain = statistics_of(kernels, logits, vocabulary, 1.0f);
  const bool processed = changes_logits(options);
  const float* scores = logits;  // what the token is drawn from
  if (processed) {
    process_logits(logits, vocabulary, options, history, scratch.logits);
    scores = scratch.logits.data();
  }
  if (options.temperature == 0) {
    const int32_t token = processed ? statistics_of(kernels, scores, vocabulary, 1.0f).argmax : plain.argmax;
    const float logprob = logprob_of(plain, logits[token], 1.0f);
    return {token, logprob, logprob, 0.0f, finish(plain).entropy};
  }
  const auto inverse = static_cast<float>(1.0 / options.temperature);
  const HeadState policy = inverse == 1.0f ? plain : statistics_of(kernels, logits, vocabulary, inverse);
  const HeadState drawn = processed ? statistics_of(kernels, scores, vocabulary, inverse) : policy;
  std::vector<float>& probabilities = scratch.probabilities;
  probabilities.resize(static_cast<size_t>(vocabulary));
  kernels.exp_row(scores, vocabulary, inverse, static_cast<float>(finish(drawn).log_sum), probabilities.data());
  const auto probability = [&](int64_t id) { return static_cast<double>(probabilities[id]); };
  int32_t token = 0;
  std::optional<double> log_kept;  // ln of the probability that truncation left
  if (options.top_k > 0 || options.top_p < 1.0 || options.min_p > 0) {
    const std::vector<int32_t> ids = truncate(probabilities, options);
    token = ids[pick(static_cast<int64_t>(ids.size()), uniform, [&](int64_t i) { return probability(ids[i]); })];
    double kept = 0;
    for (int32_t id : ids) kept += probability(id);
    // A token that is alone has probability 1, whatever its own was.
    log_kept = ids.size() == 1 ? static_cast<double>(logprob_of(drawn, scores[token], inverse)) : exact_log(kept);
  } else {
    token = static_cast<int32_t>(pick(vocabulary, uniform, probability));
  }
  float sampling = logprob_of(drawn, scores[token], inverse);
  if (log_kept) sampling = std::min(0.0f, static_cast<float>(static_cast<double>(sampling) - *log_kept));
  return {token, logprob_of(plain, logits[token], 1.0f), logprob_of(policy, logits[token], inverse), sampling,
          finish(policy).entropy};
}

}  // namespace candor::engine
