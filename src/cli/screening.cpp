#include "cli/screening.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "base/input_file.h"
#include "files/checkpoint.h"
#include "files/run_log.h"
#include "recipes/reward_models.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;
using files::Json;
using rewards::Completion;

constexpr size_t kPromptsBeforeRun = 4;  // so programs and endpoints are asked about 40 completions

bool same_prompt(const Completion& a, const Completion& b) {
  return a.prompt_ids.data() == b.prompt_ids.data() && a.row == b.row;
}

// A reward model, asked about at most `most` completions at once, all of one prompt.
rewards::Reward in_small_groups(const rewards::Reward& reward, size_t most) {
  return {
      reward.name,
      [&reward, most](std::span<const Completion> completions) -> Result<rewards::Scores> {
        rewards::Scores scores;
        for (size_t begin = 0, end = 0; begin < completions.size(); begin = end) {
          while (end < completions.size() && end - begin < most && same_prompt(completions[begin], completions[end]))
            ++end;
          const rewards::Scores some = TRY(reward.score(completions.subspan(begin, end - begin)));
          scores.insert(scores.end(), some.begin(), some.end());
        }
        return scores;
      },
      {}};
}

std::string accepted_in_words(const rewards::Screening& screening) {
  std::vector<std::string> sentences;
  for (const rewards::ScreenedReward& reward : screening.rewards)
    if (reward.accepted > 0) sentences.push_back(rewards::in_words(reward, screening));
  return fmt::format("{}", fmt::join(sentences, " "));
}

}  // namespace

Result<rewards::Screening> screen_recipe(const recipes::RolloutConfig& config, std::span<const rewards::Reward> rewards,
                                         const data::PromptSet& set, size_t prompts, const Session& session) {
  std::vector<rewards::Reward> asked;
  for (size_t k = 0; k < rewards.size(); ++k)
    asked.push_back(recipes::is_reward_model(config.reward_funcs[k])
                        ? in_small_groups(rewards[k], static_cast<size_t>(config.num_generations))
                        : rewards[k]);
  std::vector<rewards::ScreeningPrompt> first;
  for (const data::Prompt& prompt : set.prompts)
    if (first.size() < prompts) first.push_back({&prompt.row.columns, prompt.ids});
  const std::vector<int32_t>& ends = session.files.config.eos_ids;
  return rewards::screen_rewards(asked, first, [&](std::string_view text) -> Result<std::vector<int32_t>> {
    std::vector<int32_t> ids = TRY(session.tokenizer().encode(text, {.add_special_tokens = false}));
    if (!ends.empty()) ids.push_back(ends.front());
    ids.resize(std::min(ids.size(), static_cast<size_t>(config.max_completion_length)));
    return ids;
  });
}

Json screening_json(const rewards::Screening& screening) {
  Json rewards = Json::array(), accepted = Json::array();
  for (const rewards::ScreenedReward& reward : screening.rewards)
    rewards.push_back({{"reward", reward.name},
                       {"judged", reward.acceptance != rewards::Acceptance::kReported},
                       {"threshold", reward.threshold},
                       {"highest", reward.highest},
                       {"scored", reward.scored},
                       {"accepted", reward.accepted}});
  for (const rewards::ScreenedKey& key : screening.keys)
    if (key.accepted)
      accepted.push_back({{"reward", key.reward}, {"key", key.key}, {"prompt", key.prompt}, {"score", key.score}});
  return {{"rewards", std::move(rewards)}, {"accepted", std::move(accepted)}};
}

Result<Json> screen_before_run(std::string_view verb, const recipes::RolloutConfig& config,
                               std::span<const rewards::Reward> rewards, const data::PromptSet& set,
                               const Session& session, const std::function<void(const std::string&)>& say) {
  const fs::path folder = config.output_dir, file = folder / "screening.json";
  if (config.screen_rewards == "off") return Json();
  if (TRY(files::newest_complete(folder))) return path_exists(file) ? files::read_json_file(file) : Json();
  const auto screening = screen_recipe(config, rewards, set, kPromptsBeforeRun, session);
  const bool stops = config.screen_rewards == "stop";
  if (!screening) {
    if (stops) return error("[{}] screen_rewards: {}", verb, screening.error().message);
    say(fmt::format("the rewards could not be asked about completions that say nothing (screen_rewards): {}",
                    screening.error().message));
    return Json();
  }
  Json found = screening_json(*screening);
  TRY(files::write_json_atomically(file, found));
  if (!screening->any_accepted()) return found;
  const std::string says = accepted_in_words(*screening);
  if (stops)
    return error(
        "[{}] screen_rewards is stop, and {} To train all the same: --screen_rewards warn --overwrite_output_dir true",
        verb, says);
  say(says);
  return found;
}

}  // namespace candor::cli
