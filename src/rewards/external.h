// What rewards outside this program share: the JSON of a completion, the JSON of a score, and the cache.
//
// A program (reward_program.h) or an HTTP endpoint (reward_endpoint.h) is asked once for each different request of a
// run; the answer is in reward_cache.jsonl in the run's folder before it is used. So a run that is taken up again
// neither pays twice nor differs, whatever the scorer would say the second time, and where one fails the scores it had
// given are kept.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "rewards/rewards.h"

namespace candor::rewards {

// One line of JSON: {"prompt": …, "completion": "…", "completion_ids": […], "finished": true, "row": {…}}. `prompt` is
// the row's column as it stands there (text, or messages), `row` all its columns; `finished` is false where the
// completion was cut off at max_completion_length. One that screening asks about (screening.h) has "screening": true.
// Text that is no UTF-8 is made so (U+FFFD).
std::string request_line(const Completion& completion);

// A score as JSON: a finite number, or null (abstains). Error: anything else; the message says what came.
Result<std::optional<double>> score_from_json(const text::Json& value);

// Asks for the scores of these requests, in order; calls got(i, score) for each as it comes. An error of `got` ends it.
using AskScores = std::function<Result<void>(std::span<const std::string> requests,
                                             const std::function<Result<void>(size_t, std::optional<double>)>& got)>;

// A reward that asks for what `cache` does not hold yet. `identity` is what is asked: an argument list, an address. The
// file is opened, and made where it is absent, at the first score.
Reward cached_reward(std::string name, std::string identity, std::filesystem::path cache, AskScores ask);

}  // namespace candor::rewards
