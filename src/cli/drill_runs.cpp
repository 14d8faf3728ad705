#include "cli/drill_runs.h"

#include <fmt/format.h>

#include <optional>

#include "base/input_file.h"
#include "cli/exit_code.h"
#include "cli/job.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "data/prompts.h"
#include "data/write_rows.h"
#include "recipes/config.h"
#include "recipes/grpo.h"
#include "recipes/reward_models.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;
using recipes::GrpoConfig;

// A training verb as a user would call it, to its end.
Result<void> call(int (*verb)(const Words&), const char* name, const Words& words) {
  const int code = verb(words);
  if (code == kOk) return {};
  return error("[drill] candor {} ended with exit code {}; the lines above say why.", name, code);
}

Result<fs::path> rows_file(const fs::path& path, const data::Rows& rows) {
  if (!path_exists(path)) TRY(data::write_rows(rows, path));
  return path;
}

// final/ of a run that is done, or is done now.
Result<std::string> trained(const DrillSetting& setting, int (*verb)(const Words&), const char* word,
                            const std::string& name, const std::string& model, const data::Rows& rows, Words more) {
  const fs::path run = setting.folder / name, final_folder = run / "final";
  if (path_exists(run / "summary.json")) return final_folder.string();
  const fs::path file = TRY(rows_file(setting.folder / fmt::format("{}.jsonl", name), rows));
  Words words = {"--model_name_or_path",
                 model,
                 "--dataset_name",
                 file.string(),
                 "--output_dir",
                 run.string(),
                 "--resume_from_checkpoint",
                 "auto",
                 "--per_device_train_batch_size",
                 "16",
                 "--threads",
                 std::to_string(setting.threads)};
  words.insert(words.end(), more.begin(), more.end());
  TRY(call(verb, word, words));
  return final_folder.string();
}

Result<std::string> noisy_reward_model(const DrillSetting& setting, const std::string& start) {
  return trained(setting, reward, "reward", "reward", start, drill_noisy_pairs(),
                 {"--max_steps", "100", "--learning_rate", "1e-3", "--lora_r", "8", "--lora_alpha", "16"});
}

std::string prompt_of(const rewards::Completion& completion) {
  return completion.row->at("prompt").at(0).at("content").get<std::string>();
}

rewards::Reward reward_of(const std::string& name, const std::function<double(const DrillAnswer&)>& score) {
  return {name,
          [score](std::span<const rewards::Completion> completions) {
            rewards::Scores scores;
            for (const rewards::Completion& completion : completions) {
              const std::string prompt = prompt_of(completion);
              scores.emplace_back(
                  score(drill_answer(prompt, completion.text, static_cast<int64_t>(completion.ids.size()))));
            }
            return Result<rewards::Scores>(std::move(scores));
          },
          {}};
}

// The recipe, with rewards of built-in names in the place of the planted ones: their names go into metrics.jsonl.
Result<GrpoConfig> config_of(const DrillSetting& setting, const std::string& start, const fs::path& run,
                             const std::string& reward_path, int64_t seed) {
  GrpoConfig config;
  const std::vector<recipes::Flag> flags = {{"model_name_or_path", {start}},
                                            {"dataset_name", {"planted"}},
                                            {"output_dir", {run.string()}},
                                            {"reward_funcs", {reward_path.empty() ? "accuracy" : reward_path}},
                                            {"gold_reward_funcs", {"accuracy"}},
                                            {"gold_steps", {"1"}},
                                            {"exact_kl_steps", {"1"}},
                                            {"guard", {"warn"}},
                                            {"max_steps", {std::to_string(setting.steps)}},
                                            {"per_device_train_batch_size", {std::to_string(setting.task.completions)}},
                                            {"num_generations", {"8"}},
                                            {"max_completion_length", {std::to_string(kDrillTokens)}},
                                            {"learning_rate", {setting.task.learning_rate}},
                                            {"scale_rewards", {"group"}},
                                            {"lr_scheduler_type", {"constant"}},
                                            {"lora_r", {"8"}},
                                            {"lora_alpha", {"16"}},
                                            {"seed", {std::to_string(seed)}},
                                            {"threads", {std::to_string(setting.threads)}},
                                            {"save_steps", {"20"}},
                                            {"resume_from_checkpoint", {"auto"}}};
  const recipes::FieldList fields = recipes::grpo_fields(config);
  const recipes::Given given = TRY(recipes::load_fields(fields, std::nullopt, flags));
  TRY(recipes::resolve_grpo(config, given));
  return config;
}

// The model that the run begins with, with the exploit's habit.
Result<std::string> start_of(const DrillSetting& setting, const Exploit* exploit) {
  const Habit most = exploit == nullptr ? Habit::kNone : exploit->habit;
  const std::string name = most == Habit::kNone ? "start" : fmt::format("start-{}", exploit->name);
  const std::string learned =
      TRY(trained(setting, sft, "sft", name, setting.model, drill_start_rows(most), setting.task.start));
  if (!setting.task.merges) return learned;
  const std::string whole = (setting.folder / fmt::format("{}-merged", name)).string();
  if (!path_exists(whole))
    TRY(call(merge, "merge", {setting.model, "--adapter", learned, "--output", whole, "--dtype", "bfloat16"}));
  return whole;
}

}  // namespace

Result<std::optional<fs::path>> drill_run(const DrillSetting& setting, const Exploit* exploit, int64_t seed) {
  const fs::path run = setting.folder / fmt::format("{}-{}", exploit == nullptr ? "honest" : exploit->name, seed);
  if (path_exists(run / "final")) return std::optional(run);
  const std::string start = TRY(start_of(setting, exploit));
  const bool learned = exploit != nullptr && !exploit->reward;
  const std::string reward_path = learned ? TRY(noisy_reward_model(setting, start)) : std::string();
  const GrpoConfig config = TRY(config_of(setting, start, run, reward_path, seed));
  const std::unique_ptr<Session> session = TRY(open_job_files(config));
  TRY(load_job_weights(config, *session));
  recipes::RewardModels models;
  TRY(models.load(config, session->context, session->model, session->files));
  std::vector<rewards::Reward> rewards;
  if (learned)
    rewards = TRY(recipes::make_rewards(config, models));
  else
    rewards = {reward_of("accuracy", exploit == nullptr ? honest_reward : exploit->reward)};
  data::PromptSet prompts = TRY(data::load_prompts(
      drill_prompts(exploit != nullptr && exploit->leaks), session->tokenizer(), session->chat_template(),
      session->files.special_tokens, {"drill", session->files.config.max_positions, config.max_completion_length, {}}));
  recipes::GrpoStart begun = TRY(recipes::start_grpo(config, session->context, session->model, prompts));
  TRY(with_run_directory(config, recipes::grpo_fields, recipes::prepare_run_directory));
  recipes::RolloutParts parts{.context = session->context,
                              .model = session->model,
                              .tokenizer = session->tokenizer(),
                              .prompts = std::move(prompts),
                              .rewards = std::move(rewards),
                              .gold = {reward_of("accuracy", honest_reward)},
                              .disagreement = {},
                              .recipe_yaml = kept_yaml(config, recipes::grpo_fields),
                              .evaluate = {},
                              .report = {},
                              .doing = {},
                              .interrupted = [&] { return setting.stop != nullptr && setting.stop->load(); }};
  const recipes::RolloutResult result = TRY(recipes::run_grpo(config, std::move(parts), std::move(begun)));
  if (result.interrupted) return std::optional<fs::path>();
  return std::optional(run);
}

}  // namespace candor::cli
