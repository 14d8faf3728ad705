#include "rewards/external.h"

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "files/run_log.h"
#include "rewards/reward_cache.h"

namespace candor::rewards {

namespace {

constexpr size_t kQuoted = 60;  // characters of what a stranger said that a message repeats

// What stands in a row under `prompt` (or `messages`); data/prompts.h has refused a row with neither.
text::Json prompt_of(const text::Json& row) {
  for (const char* column : {"prompt", "messages"})
    if (row.contains(column)) return row[column];
  return nullptr;
}

// What lasts from score to score.
struct State {
  std::string identity;
  std::filesystem::path path;
  AskScores ask;
  std::optional<RewardCache> cache;
};

Result<Scores> scores_of(State& state, std::span<const Completion> completions) {
  if (!state.cache) state.cache = TRY(RewardCache::open(state.path));
  std::vector<std::string> keys, requests, request_keys;
  for (const Completion& completion : completions) {
    std::string line = request_line(completion);
    keys.push_back(sha256_hex(state.identity + "\n" + line));
    const bool asked = std::find(request_keys.begin(), request_keys.end(), keys.back()) != request_keys.end();
    if (asked || state.cache->find(keys.back())) continue;
    request_keys.push_back(keys.back());
    requests.push_back(std::move(line));
  }
  if (!requests.empty()) {
    const auto asked = state.ask(requests, [&](size_t i, std::optional<double> score) -> Result<void> {
      return state.cache->add(request_keys[i], score);
    });
    const auto synced = state.cache->sync();
    if (!asked) return asked.error();
    TRY(synced);
  }
  Scores scores;
  for (const std::string& key : keys) {
    const auto* score = state.cache->find(key);
    if (!score) return error("{} scores were asked for and not all of them came.", requests.size());
    scores.push_back(*score);
  }
  return scores;
}

}  // namespace

std::string request_line(const Completion& completion) {
  text::Json request = {{"prompt", prompt_of(*completion.row)},
                        {"completion", completion.text},
                        {"completion_ids", std::vector<int32_t>(completion.ids.begin(), completion.ids.end())},
                        {"finished", completion.finished},
                        {"row", *completion.row}};
  if (completion.screening) request["screening"] = true;
  return files::json_line(request);
}

Result<std::optional<double>> score_from_json(const text::Json& value) {
  if (value.is_null()) return std::optional<double>();
  if (!value.is_number())
    return error("expected a number, or null to abstain, got {}.", files::json_line(value).substr(0, kQuoted));
  const auto score = value.get<double>();
  if (!std::isfinite(score)) return error("the score is {}, expected a finite number.", score);
  return std::optional(score);
}

Reward cached_reward(std::string name, std::string identity, std::filesystem::path cache, AskScores ask) {
  const auto state = std::make_shared<State>(State{std::move(identity), std::move(cache), std::move(ask), {}});
  Reward reward;
  reward.name = std::move(name);
  reward.score = [state](std::span<const Completion> completions) { return scores_of(*state, completions); };
  return reward;
}

}  // namespace candor::rewards
