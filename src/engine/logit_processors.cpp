#include "engine/logit_processors.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace candor::engine {

namespace {

constexpr double kLargest = 1e6;  // of a penalty or a bias: far beyond any logit, far from overflow

// Whether prompt and completion end with these tokens.
bool ends_with(const TokenHistory& history, std::span<const int32_t> tokens) {
  const size_t prompt = history.prompt.size(), length = prompt + history.completion.size();
  if (tokens.size() > length) return false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const size_t at = length - tokens.size() + i;
    if (tokens[i] != (at < prompt ? history.prompt[at] : history.completion[at - prompt])) return false;
  }
  return true;
}

Result<void> check_number(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};  // not so for NaN
  return error("{} is {}; expected {} to {}.", name, value, low, high);
}

Result<void> check_id(const char* name, int32_t id, int64_t vocabulary) {
  if (id >= 0 && id < vocabulary) return {};
  return error("{} names token {}; the vocabulary has ids 0 to {}.", name, id, vocabulary - 1);
}

}  // namespace

Result<void> check_sampling(const SamplingOptions& options, int64_t vocabulary) {
  TRY(check_number("temperature", options.temperature, 0, 100));
  TRY(check_number("top_p", options.top_p, 1e-9, 1));
  TRY(check_number("min_p", options.min_p, 0, 1));
  TRY(check_number("repetition_penalty", options.repetition_penalty, 1e-3, 1e3));
  TRY(check_number("presence_penalty", options.presence_penalty, -kLargest, kLargest));
  TRY(check_number("frequency_penalty", options.frequency_penalty, -kLargest, kLargest));
  for (const auto& [id, bias] : options.logit_bias) {
    TRY(check_id("logit_bias", id, vocabulary));
    TRY(check_number("logit_bias", static_cast<double>(bias), -kLargest, kLargest));
  }
  for (const std::vector<int32_t>& sequence : options.bad_words) {
    if (sequence.empty()) return Error{"a bad word has no token."};
    for (const int32_t id : sequence) TRY(check_id("a bad word", id, vocabulary));
  }
  // Each sequence forbids at most one token at a time, so fewer of them than tokens always leave one.
  if (static_cast<int64_t>(options.bad_words.size()) >= vocabulary)
    return error("{} bad words for a vocabulary of {}: none might be left to draw.", options.bad_words.size(),
                 vocabulary);
  for (const std::string& stop : options.stop_strings)
    if (stop.empty()) return Error{"a stop string is empty: every completion would end at once."};
  return {};
}

bool changes_logits(const SamplingOptions& options) {
  return options.repetition_penalty != 1.0 || options.presence_penalty != 0 || options.frequency_penalty != 0 ||
         !options.logit_bias.empty() || !options.bad_words.empty();
}

void process_logits(const float* logits, int64_t vocabulary, const SamplingOptions& options,
                    const TokenHistory& history, std::vector<float>& out) {
  CHECK(static_cast<int64_t>(options.bad_words.size()) < vocabulary);
  out.assign(logits, logits + vocabulary);
  for (const auto& [id, bias] : options.logit_bias) out[id] += bias;
  if (options.repetition_penalty != 1.0) {
    const auto penalty = static_cast<float>(options.repetition_penalty);
    // From the biased logit each time, so that a token met twice is penalised once.
    const auto penalise = [&](int32_t id) {
      const auto bias = options.logit_bias.find(id);
      const float logit = bias == options.logit_bias.end() ? logits[id] : logits[id] + bias->second;
      out[id] = logit < 0 ? logit * penalty : logit / penalty;
    };
    std::for_each(history.prompt.begin(), history.prompt.end(), penalise);
    std::for_each(history.completion.begin(), history.completion.end(), penalise);
  }
  if (options.presence_penalty != 0 || options.frequency_penalty != 0) {
    std::vector<int32_t> sorted(history.completion.begin(), history.completion.end());
    std::sort(sorted.begin(), sorted.end());
    for (auto first = sorted.begin(); first != sorted.end();) {
      const auto last = std::upper_bound(first, sorted.end(), *first);
      const double penalty = options.presence_penalty + options.frequency_penalty * static_cast<double>(last - first);
      out[*first] -= static_cast<float>(penalty);
      first = last;
    }
  }
  for (const std::vector<int32_t>& sequence : options.bad_words)
    if (ends_with(history, std::span(sequence).first(sequence.size() - 1))) out[sequence.back()] = kBannedLogit;
}

}  // namespace candor::engine
