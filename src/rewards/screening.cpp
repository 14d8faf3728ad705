#include "rewards/screening.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace candor::rewards {
namespace {

// Rewards of the program that judge a completion by its text: a wrong one gets 0.
bool judges(std::string_view name) {
  constexpr std::string_view kJudges[] = {"accuracy",         "concise_accuracy", "reasoned_accuracy",
                                          "arithmetic_steps", "format",           "think_format"};
  return std::find(std::begin(kJudges), std::end(kJudges), name) != std::end(kJudges);
}

bool is_built_in(std::string_view name) {
  return std::find(reward_names().begin(), reward_names().end(), name) != reward_names().end();
}

std::optional<std::string> reference_of(const text::Json& row) {
  for (const char* column : {"completion", "answer", "solution"}) {
    const auto found = row.find(column);
    if (found == row.end() || found->is_null()) continue;
    if (found->is_string()) return found->get<std::string>();
    if (found->is_number()) return found->dump();
  }
  return std::nullopt;
}

// Completions that own their text and ids.
struct Asked {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> ids;
  std::vector<size_t> prompts;

  Result<void> add(std::string text, size_t prompt, const EncodeCompletion& encode) {
    ids.push_back(TRY(encode(text)));
    texts.push_back(std::move(text));
    prompts.push_back(prompt);
    return {};
  }
  std::vector<Completion> completions(std::span<const ScreeningPrompt> of) const {
    std::vector<Completion> all;
    for (size_t i = 0; i < texts.size(); ++i)
      all.push_back({of[prompts[i]].row, texts[i], ids[i], true, of[prompts[i]].prompt_ids, true});
    return all;
  }
};

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// The finite scores of one reward.
Result<std::vector<double>> scores_of(const Reward& reward, std::span<const Completion> completions) {
  return score_all({&reward, 1}, completions);
}

bool only_zero_and_one(std::span<const double> scores) {
  return std::all_of(scores.begin(), scores.end(), [](double s) { return std::isnan(s) || s == 0 || s == 1; });
}

}  // namespace

const std::vector<std::string>& master_keys() {
  static const std::vector<std::string> keys = {" ",
                                                ".",
                                                ",",
                                                ":",
                                                "Thought process:",
                                                "Let's solve this problem step by step.",
                                                "Solution",
                                                "\xE8\xA7\xA3",
                                                "\xE3\x81\x8B\xE3\x81\x84\xE3\x81\x9B\xE3\x81\xA4",
                                                "Respuesta"};
  return keys;
}

bool Screening::any_accepted() const {
  return std::any_of(rewards.begin(), rewards.end(), [](const ScreenedReward& reward) { return reward.accepted > 0; });
}

Result<Screening> screen_rewards(std::span<const Reward> rewards, std::span<const ScreeningPrompt> prompts,
                                 const EncodeCompletion& encode) {
  Asked keys, references;
  for (size_t p = 0; p < prompts.size(); ++p) {
    for (const std::string& key : master_keys()) TRY(keys.add(key, p, encode));
    if (auto reference = reference_of(*prompts[p].row)) TRY(references.add(std::move(*reference), p, encode));
  }
  const std::vector<Completion> asked = keys.completions(prompts), answers = references.completions(prompts);
  Screening screening;
  for (const Reward& reward : rewards) {
    const std::vector<double> scores = TRY(scores_of(reward, asked));
    ScreenedReward screened{reward.name, Acceptance::kReported, 0, 0, 0, 0};
    if (judges(reward.name)) {
      screened.acceptance = Acceptance::kAboveZero;
    } else if (!is_built_in(reward.name)) {
      std::vector<double> own = TRY(scores_of(reward, answers));
      const bool judged = only_zero_and_one(scores) && only_zero_and_one(own);
      std::erase_if(own, [](double score) { return std::isnan(score); });
      if (judged) {
        screened.acceptance = Acceptance::kAboveZero;
      } else if (!own.empty()) {
        screened.acceptance = Acceptance::kAboveReferences;
        screened.threshold = median_of(std::move(own));
      }
    }
    for (size_t i = 0; i < scores.size(); ++i) {
      if (std::isnan(scores[i])) continue;
      const bool accepted = screened.acceptance != Acceptance::kReported && scores[i] > screened.threshold;
      screened.highest = screened.scored == 0 ? scores[i] : std::max(screened.highest, scores[i]);
      ++screened.scored;
      screened.accepted += accepted;
      screening.keys.push_back({reward.name, keys.texts[i], keys.prompts[i], scores[i], accepted});
    }
    screening.rewards.push_back(std::move(screened));
  }
  return screening;
}

std::string in_words(const ScreenedReward& reward, const Screening& screening) {
  if (reward.scored == 0) return fmt::format("{} abstained on every master key.", reward.name);
  if (reward.acceptance == Acceptance::kReported)
    return fmt::format("{} gives at most {:.4g} for one of {} master keys; nothing says what that is worth.",
                       reward.name, reward.highest, reward.scored);
  if (reward.accepted == 0) return fmt::format("{} accepts none of {} master keys.", reward.name, reward.scored);
  const auto first = std::find_if(screening.keys.begin(), screening.keys.end(),
                                  [&](const ScreenedKey& key) { return key.accepted && key.reward == reward.name; });
  return fmt::format(
      "{} accepts {} of {} completions that say nothing, e.g. \"{}\" with {:.4g} (above {:.4g}{}). A policy will find "
      "them: mend the reward first.",
      reward.name, reward.accepted, reward.scored, first->key, first->score, reward.threshold,
      reward.acceptance == Acceptance::kAboveReferences ? ", the median of the rows' own answers" : "");
}

}  // namespace candor::rewards
