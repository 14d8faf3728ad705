// What SFT changed on held-out rows: their loss, row by row, and answers to some of their prompts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/greedy_answers.h"
#include "cli/session.h"
#include "data/sft.h"
#include "files/json_file.h"
#include "recipes/sft_pass.h"

namespace candor::cli {

struct SftState {
  recipes::SftEvaluation losses;
  std::vector<std::string> answers;  // greedy, to the first kSampledRows sequences that have a prompt
};

// What answering costs, for the memory plan; nothing where no sequence has a prompt.
std::optional<engine::SamplingShape> answers_shape(const data::SftSet& set);

// adapter: null = the model alone. `doing` is told how far it is; nothing if it was interrupted.
std::optional<SftState> measure_sft(const Session& session, const engine::Adapter* adapter, const data::SftSet& set,
                                    const std::function<void(const std::string&)>& doing,
                                    const std::function<bool()>& interrupted);

// "loss" {before, after: nats per token, difference, interval (bootstrap over rows, 95%), better, worse, rows, tokens}
// and "token_accuracy" {before, after}. Both states must be of one set.
files::Json compare_sft(const SftState& before, const SftState& after);

// Prompt, the row's own completion, and both answers.
files::Json sft_samples(const Session& session, const data::SftSet& set, const SftState& before, const SftState& after);

// One plain sentence: whether the loss on held-out rows has changed, by how much, and whether that may be chance.
std::string sft_verdict(const files::Json& evaluations);

}  // namespace candor::cli
