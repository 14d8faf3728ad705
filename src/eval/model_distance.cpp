#include "eval/model_distance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/head.h"
#include "engine/matrix_products.h"
#include "engine/sequence_pass.h"
#include "statistics/bootstrap.h"

namespace candor::eval {

namespace {

using engine::Activations;
using engine::padded;

constexpr int64_t kPassTokens = 1024, kLogitRows = 32;

// Whole rows of logits of both models for a few tokens at a time.
class LogitPairs {
 public:
  LogitPairs(const engine::Context& context, const engine::Model& original, const engine::Model& changed)
      : context_(context), models_{&original, &changed}, vocabulary_(original.config.vocab_size) {
    const int64_t size = kLogitRows * padded(vocabulary_);
    for (engine::Buffer* buffer : {&logits_[0], &logits_[1], &probabilities_})
      *buffer = engine::Buffer(context.ledger, "comparison", "logits", size);
  }

  // For rows [begin, end) of both models' hidden states, at most kLogitRows: what predicts targets[begin], …
  std::vector<TextDistance> compare(const float* const hidden[2], int64_t begin, int64_t end,
                                    std::span<const int32_t> targets) {
    for (int i = 0; i < 2; ++i) {
      const int64_t width = padded(models_[i]->config.hidden_size);
      engine::head_logits(context_, models_[i]->head_matrix(), hidden[i] + begin * width, end - begin,
                          logits_[i].data());
    }
    std::vector<TextDistance> rows(static_cast<size_t>(end - begin));
    engine::for_rows(context_.pool, end - begin,
                     [&](int64_t row) { rows[row] = compare_row(row, targets[static_cast<size_t>(begin + row)]); });
    return rows;
  }

 private:
  TextDistance compare_row(int64_t row, int32_t target) {
    const int64_t at = row * padded(vocabulary_);
    const float *original = logits_[0].data() + at, *changed = logits_[1].data() + at;
    float* p = probabilities_.data() + at;
    const auto ours = engine::row_statistics(context_.kernels, original, vocabulary_, 1.0f, target),
               theirs = engine::row_statistics(context_.kernels, changed, vocabulary_, 1.0f, target);
    context_.kernels.exp_row(original, vocabulary_, 1.0f, static_cast<float>(ours.log_sum), p);
    double gap = 0;
    for (int64_t i = 0; i < vocabulary_; ++i)
      gap += static_cast<double>(p[i]) * (static_cast<double>(original[i]) - static_cast<double>(changed[i]));
    // KL is not negative; rounding may make it so where the two are as good as equal.
    return {1, -static_cast<double>(ours.logprob), -static_cast<double>(theirs.logprob),
            std::max(0.0, gap - ours.log_sum + theirs.log_sum), ours.argmax == theirs.argmax};
  }

  const engine::Context& context_;
  const engine::Model* models_[2];
  int64_t vocabulary_;
  engine::Buffer logits_[2], probabilities_;
};

void add(const TextDistance& token, TextDistance& text) {
  text.tokens += token.tokens;
  text.nll_nats += token.nll_nats;
  text.changed_nll_nats += token.changed_nll_nats;
  text.kl_nats += token.kl_nats;
  text.same_choice += token.same_choice;
}

// The mean per token, its interval from texts of different lengths: what each text adds to Σ values / Σ tokens, to
// first order, has that mean and is drawn again.
statistics::Interval interval_per_token(std::span<const double> values, std::span<const double> tokens) {
  const double texts = static_cast<double>(values.size()), all = std::accumulate(tokens.begin(), tokens.end(), 0.0);
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / all;
  std::vector<double> parts;
  for (size_t i = 0; i < values.size(); ++i) parts.push_back(mean + (values[i] - mean * tokens[i]) * texts / all);
  return statistics::bootstrap_mean(parts);
}

}  // namespace

std::vector<TextDistance> model_distances(const engine::Context& context, const engine::Model& original,
                                          const engine::Model& changed, std::span<const std::vector<int32_t>> sequences,
                                          std::span<const std::vector<uint8_t>> masks,
                                          const std::function<bool()>& interrupted) {
  engine::SequencePass passes[] = {{context, "original", original, Activations::Keep::kOneLayer},
                                   {context, "changed", changed, Activations::Keep::kOneLayer}};
  LogitPairs pairs(context, original, changed);
  std::vector<TextDistance> texts;
  for (size_t first = 0; first < sequences.size() && !(interrupted && interrupted());) {
    const auto some = sequences.subspan(first, engine::sequences_for_pass(sequences.subspan(first), kPassTokens));
    const float* hidden[2];
    for (int i = 0; i < 2; ++i) hidden[i] = passes[i].forward(some).hidden();
    // The row of a token predicts the next of its text; what the last of a text predicts is nobody's.
    std::vector<int32_t> targets;
    std::vector<size_t> text_of;  // of the target; none: texts.size() after this pass
    const size_t last = first + some.size();
    for (size_t text = first; text < last; ++text)
      for (size_t t = 1; t <= sequences[text].size(); ++t) {
        const bool counts = t < sequences[text].size() && masks[text][t] == 1;
        targets.push_back(counts ? sequences[text][t] : 0);
        text_of.push_back(counts ? text : last);
      }
    texts.resize(last + 1);
    const auto rows = static_cast<int64_t>(targets.size());
    for (int64_t begin = 0; begin < rows; begin += kLogitRows) {
      const int64_t end = std::min(begin + kLogitRows, rows);
      const std::vector<TextDistance> tokens = pairs.compare(hidden, begin, end, targets);
      for (int64_t row = begin; row < end; ++row)
        add(tokens[static_cast<size_t>(row - begin)], texts[text_of[static_cast<size_t>(row)]]);
    }
    texts.pop_back();
    first = last;
  }
  return texts;
}

Result<DistanceSummary> summarize(std::span<const TextDistance> texts) {
  DistanceSummary summary;
  TextDistance sum;
  std::vector<double> lengths, nll, changed, difference, kl;
  for (const TextDistance& text : texts) {
    if (text.tokens == 0) continue;
    if (!std::isfinite(text.nll_nats) || !std::isfinite(text.changed_nll_nats) || !std::isfinite(text.kl_nats))
      return error("[evaluate] text {} has the likelihoods {} and {} nats. Expected finite numbers.", nll.size() + 1,
                   text.nll_nats, text.changed_nll_nats);
    lengths.push_back(static_cast<double>(text.tokens));
    nll.push_back(text.nll_nats);
    changed.push_back(text.changed_nll_nats);
    difference.push_back(text.changed_nll_nats - text.nll_nats);
    kl.push_back(text.kl_nats);
    add(text, sum);
  }
  if (sum.tokens == 0) return error("[evaluate] no token counts in these texts.");
  const auto tokens = static_cast<double>(sum.tokens);
  summary.texts = static_cast<int64_t>(nll.size());
  summary.tokens = sum.tokens;
  summary.perplexity = std::exp(sum.nll_nats / tokens);
  summary.changed_perplexity = std::exp(sum.changed_nll_nats / tokens);
  summary.difference_nats = (sum.changed_nll_nats - sum.nll_nats) / tokens;
  summary.nll_interval = interval_per_token(nll, lengths);
  summary.changed_nll_interval = interval_per_token(changed, lengths);
  summary.difference_interval = interval_per_token(difference, lengths);
  summary.kl_nats = sum.kl_nats / tokens;
  summary.kl_interval = interval_per_token(kl, lengths);
  summary.same_choice = static_cast<double>(sum.same_choice) / tokens;
  return summary;
}

}  // namespace candor::eval
