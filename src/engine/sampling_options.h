// How completions are drawn: what generate, chat, evaluation and the RL recipes hand to the sampler.
//
// The order is Transformers' (5.23): logit_bias, repetition_penalty, bad words on the logits; then temperature, top_k,
// top_p, min_p. Presence and frequency penalties, which Transformers lacks, follow repetition_penalty, as in vLLM.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace candor::engine {

struct SamplingOptions {
  double temperature = 1.0;  // 0 = greedy: the likeliest token, the smallest id on a tie
  int64_t top_k = 0;         // 0 = off
  double top_p = 1.0;        // 1 = off; applied after top_k, to what it left
  double min_p = 0.0;        // 0 = off; drops what is less likely than min_p times the likeliest

  // Divides the logit of a token that prompt or completion holds if it is above 0, multiplies it if below (Keskar et
  // al., 1909.05858, section 4.1, as Transformers has it). 1 = off, above 1 discourages.
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;        // taken once from the logit of each token that the completion holds
  double frequency_penalty = 0.0;       // taken as often as the completion holds it
  std::map<int32_t, float> logit_bias;  // token id -> added to its logit
  std::vector<std::vector<int32_t>>
      bad_words;  // bad words: the last token never follows those before it in its sequence

  int64_t max_new_tokens = 256;
  std::vector<int32_t> stop_ids;          // the stop token belongs to the completion
  std::vector<std::string> stop_strings;  // so does the token that completes a stop string
  uint64_t seed = 0;
  uint32_t step = 0;
  // Changes only speed and memory.
  int64_t max_rows = 64;  // rows decoded together (a group is never split)
};

// What a user may get wrong about a vocabulary: ids outside it, a value that is not finite or out of its range, an
// empty stop string, so many bans that no token might be left. The message has no place in brackets.
Result<void> check_sampling(const SamplingOptions& options, int64_t vocabulary);

}  // namespace candor::engine
