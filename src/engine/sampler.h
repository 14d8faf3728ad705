// Prompts to completions: continuous batching over paged keys and values.
//
// A prompt is computed once and its pages shared by its completions; a row that ends leaves its place to the next
// prompt. The draw of a token depends on (seed, step, row, position), on its distribution and on the tokens before it
// only, so neither the batch a row shares nor the number of rows at a time can change it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/draw.h"
#include "engine/forward.h"
#include "text/tokenizer.h"

namespace candor::engine {

struct SampleRequest {
  std::vector<int32_t> prompt;  // at least one token
  int64_t completions = 1;
  int64_t max_new_tokens = 0;                  // a bound of its own; 0: the options'
  std::optional<const Adapter*> adapter = {};  // instead of the sampler's; null: the model alone
  // Above 0: drawn from the geometric mixture of that role and the model alone, whose logits weigh this much (Nash-MD,
  // arXiv 2312.00886). All that is said of its tokens is then the mixture's. Not with a PrefixCache.
  double reference_share = 0.0;
  std::span<const HiddenDoor> doors = {};  // that its tokens go through
};

// Per token: `logprobs` of the model at temperature 1, `policy_logprobs` at the sampling temperature (what trains; at
// temperature 1 when greedy), `sampling_logprobs` after penalties and truncation too (0 when greedy), and the entropy
// at the policy's temperature, in nats.
struct Completion {
  std::vector<int32_t> ids;
  std::vector<float> logprobs, policy_logprobs, sampling_logprobs, entropy;
  bool finished = false;  // ended by a stop token or string; else by max_new_tokens
};

// Where a completion belongs: the request's number and the completion's within it.
struct RowPlace {
  size_t request = 0, completion = 0;
};

// Each may be empty. They are called on the caller's thread.
struct SamplingCallbacks {
  std::function<void(int64_t finished_rows, int64_t new_tokens)> progress = {};
  std::function<bool()> interrupted = {};                                // true abandons the sampling
  std::function<void(const RowPlace& row, int32_t token)> token = {};    // a token was drawn
  std::function<void(const RowPlace& row, Completion& done)> done = {};  // a row ended; the completion may be moved out
};

// Completions [request][completion]; the row number for the draws counts completions over all requests, from first_row.
// tokenizer: needed for stop strings only. An abandoned sampling returns what `interrupted` left: nothing (empty
// vector).
std::vector<std::vector<Completion>> sample(const Context& context, const Model& model, const Adapter* adapter,
                                            std::span<const SampleRequest> requests, const SamplingOptions& options,
                                            const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
                                            uint32_t first_row = 0);

// How much a sampling holds at once, for a plan.
struct SamplingShape {
  int64_t requests = 0, completions = 1;  // of each
  int64_t longest_prompt = 1, longest_completion = 1;
  bool half_mixed = false;  // every second request, of one completion each, has a reference_share
};
// Of a planned ledger: allocates, and lets go of, what sample() of such requests would.
void plan_sampling(const Context& context, const Model& model, const Adapter* adapter, const SamplingShape& shape,
                   const SamplingOptions& options);

// The keys and values of one conversation under one role (and its doors), so that its next turn computes only what is
// new. Reusing them changes no bit: they are what the same tokens would give again.
class PrefixCache {
 public:
  PrefixCache(MemoryLedger& ledger, const Model& model);

  // Tokens of `prompt` whose keys and values are at hand; always fewer than all.
  int64_t shared_tokens(std::span<const int32_t> prompt) const;

 private:
  friend class Sampler;
  KvPool kv_;
  std::vector<int32_t> tokens_, pages_;
};

// The same, one token of every row at a time, for a caller that interleaves models or stops in the middle. What the
// constructor is given must outlive it. cache: may be null; for one request of one completion.
class Sampler {
 public:
  Sampler(const Context& context, const Model& model, const Adapter* adapter, std::span<const SampleRequest> requests,
          const SamplingOptions& options, const text::Tokenizer* tokenizer, const SamplingCallbacks& callbacks,
          uint32_t first_row = 0, PrefixCache* cache = nullptr);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  bool done() const;
  void step();
  // Of unfinished rows what there is so far. The sampler is over.
  std::vector<std::vector<Completion>> take_results();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace candor::engine
