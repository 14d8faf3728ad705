// Greedy answers to some prompts of held-out rows, before and after a training, for its page.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/session.h"
#include "engine/sampler.h"
#include "files/json_file.h"

namespace candor::cli {

// A row whose prompt is answered: more of a prompt than the one token that text begins with.
struct SampledRow {
  std::span<const int32_t> prompt, completion;  // the completion is the row's own
};
inline constexpr size_t kSampledRows = 8;

// What answering costs, for the memory plan; nothing without rows.
std::optional<engine::SamplingShape> answers_shape(std::span<const SampledRow> rows);

// An answer to each; nothing: interrupted.
std::optional<std::vector<std::string>> greedy_answers(const Session& session, const engine::Adapter* adapter,
                                                       std::span<const SampledRow> rows,
                                                       const std::function<bool()>& interrupted);

// [{prompt, answer (the row's own completion), before, after}].
files::Json samples_json(const Session& session, std::span<const SampledRow> rows, std::span<const std::string> before,
                         std::span<const std::string> after);

}  // namespace candor::cli
