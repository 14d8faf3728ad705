// How far a changed model (quantized, say) is from the original, token by token over given text.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "statistics/proportions.h"

namespace candor::eval {

// Of one text, over the tokens that count.
struct TextDistance {
  int64_t tokens = 0;
  double nll_nats = 0, changed_nll_nats = 0;  // Σ −ln p(token) of the original, of the changed model
  double kl_nats = 0;                         // Σ KL(original ‖ changed) of the distributions that predict them
  int64_t same_choice = 0;                    // tokens for which both have the same likeliest one
};

// sequences: at least one token each. masks: 1 = the token counts; never the first. `interrupted` (may be empty) is
// asked between passes; true leaves the rest out.
std::vector<TextDistance> model_distances(const engine::Context& context, const engine::Model& original,
                                          const engine::Model& changed, std::span<const std::vector<int32_t>> sequences,
                                          std::span<const std::vector<uint8_t>> masks,
                                          const std::function<bool()>& interrupted);

// Over all texts. Intervals: 95%, of the mean per token, bootstrap over texts.
struct DistanceSummary {
  int64_t texts = 0, tokens = 0;
  double perplexity = 0, changed_perplexity = 0;  // exp of the mean −ln p
  double difference_nats = 0;                     // mean of changed − original −ln p per token
  statistics::Interval nll_interval, changed_nll_interval, difference_interval;
  double kl_nats = 0;  // mean per token
  statistics::Interval kl_interval;
  double same_choice = 0;  // share of tokens
};

// Error: no token counts, or a likelihood that is not finite.
Result<DistanceSummary> summarize(std::span<const TextDistance> texts);

}  // namespace candor::eval
