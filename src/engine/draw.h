// One draw from a row of logits.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/kernels/kernels.h"
#include "engine/logit_processors.h"

namespace candor::engine {

// logprob: of the model at temperature 1. policy_logprob: at the sampling temperature (1 when greedy), and so the
// entropy, in nats. sampling_logprob: of the distribution that the token was drawn from (0 when greedy).
struct Draw {
  int32_t token;
  float logprob, policy_logprob, sampling_logprob, entropy;
};

// Space that draws reuse.
struct DrawScratch {
  std::vector<float> logits, probabilities;
};

// Bytes that one thread's scratch grows to.
int64_t draw_scratch_bytes(int64_t vocabulary, const SamplingOptions& options);

// logits: [vocabulary]; uniform in [0, 1).
Draw draw_token(const Kernels& kernels, const float* logits, int64_t vocabulary, const SamplingOptions& options,
                const TokenHistory& history, double uniform, DrawScratch& scratch);

}  // namespace candor::engine
