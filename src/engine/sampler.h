// Prompts to completions: continuous batching over paged keys and values.
//
// A prompt is computed once and its pages shared by its completions; a row that ends leaves its place to the next
// prompt. The draw of a token depends on (seed, step, row, position) and on its distribution only, so neither the batch
// a row shares nor the number of rows at a time can change it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/forward.h"
#include "text/tokenizer.h"

namespace candor::engine {

struct SamplingOptions {
  double temperature = 1.0;  // 0 = greedy: the likeliest token, the smallest id on a tie
  int64_t top_k = 0;         // 0 = off
  double top_p = 1.0;        // 1 = off; applied after top_k, to what it left
  int64_t max_new_tokens = 256;
  std::vector<int32_t> stop_ids;          // the stop token belongs to the completion
  std::vector<std::string> stop_strings;  // so does the token that completes a stop string
  uint64_t seed = 0;
  uint32_t step = 0;
  // Changes only speed and memory.
  int64_t max_rows = 64;  // rows decoded together (a group is never split)
};

struct SampleRequest {
  std::vector<int32_t> prompt;  // at least one token
  int64_t completions = 1;
};

// Per token: `logprobs` of the model at temperature 1, `policy_logprobs` at the sampling temperature (what trains; at
// temperature 1 when greedy), `sampling_logprobs` after truncation too (0 when greedy), and the entropy at the policy's
// temperature, in nats.
struct Completion {
  std::vector<int32_t> ids;
  std::vector<float> logprobs, policy_logprobs, sampling_logprobs, entropy;
  bool finished = false;  // ended by a stop token or string; else by max_new_tokens
};

struct SamplingCallbacks {
  std::function<void(int64_t finished_rows, int64_t new_tokens)> progress;  // may be empty
  std::function<bool()> interrupted;                                        // may be empty; true abandons the sampling
};

// Completions [request][completion]; the row number for the draws counts completions over all requests, from first_row.
// tokenizer: needed for stop strings only. An abandoned sampling returns what `interrupted` left: nothing (empty
// vector).
std::vector<std::vector<Completion>> sample(const Context& context, const Model& model, const Adapter* adapter,
                                            std::span<const SampleRequest> requests, const SamplingOptions& options,
                                            const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
                                            uint32_t first_row = 0);

// One draw from a row of logits [vocabulary].
struct Draw {
  int32_t token;
  float logprob, policy_logprob, sampling_logprob, entropy;
};
// uniform in [0, 1); scratch: vocabulary floats.
Draw draw_token(const Kernels& kernels, const float* logits, int64_t vocabulary, const SamplingOptions& options,
                double uniform, std::vector<float>& scratch);

}  // namespace candor::engine
