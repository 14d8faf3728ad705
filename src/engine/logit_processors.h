// Logits as the draw sees them: biased, penalised, without banned tokens. The model's own stay as they are beside them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampling_options.h"

namespace candor::engine {

// What penalties and bans look back on. Either may be empty.
struct TokenHistory {
  std::span<const int32_t> prompt, completion;
};

// Stands for minus infinity: finite, since an infinite logit would make a row's sums NaN, and so low that it has no
// probability at any temperature.
inline constexpr float kBannedLogit = -1e30f;

// Whether process_logits would change anything.
bool changes_logits(const SamplingOptions& options);

// logits -> out, [vocabulary] each. The options are those that check_sampling passes.
void process_logits(const float* logits, int64_t vocabulary, const SamplingOptions& options,
                    const TokenHistory& history, std::vector<float>& out);

}  // namespace candor::engine
