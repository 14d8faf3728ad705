// candor data pairs ROLLOUTS OUT: scored completions as rows to train on.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/pairs.h"
#include "data/sequences.h"
#include "data/write_rows.h"
#include "rewards/rewards.h"

namespace candor::cli {
namespace {

using text::Json;

struct PairsWords {
  std::string rollouts, out, report, score;
  std::string pairs = "best_worst";
  bool best_of = false, unpaired = false, json = false;
  std::vector<std::string> reward_funcs;
  std::vector<double> reward_weights;
  rewards::RewardParams params;
  std::optional<double> min_score;
  data::PairOptions how;
};

// The columns of the prompt: what candor generate --keep_row put into `row`, else the row's own.
const Json& prompt_columns(const Json& columns) {
  const auto row = columns.find("row");
  return row != columns.end() && row->is_object() ? *row : columns;
}

Result<Json> prompt_of(const Json& columns) {
  const Json& own = prompt_columns(columns);
  for (const char* column : {"prompt", "messages", "text"})
    if (own.contains(column) && (own[column].is_string() || own[column].is_array())) return own[column];
  if (columns.contains("prompt") && columns["prompt"].is_string()) return columns["prompt"];
  return error("expected a column \"prompt\": text, or a list of messages.");
}

Result<std::string> completion_of(const Json& columns) {
  const auto completion = columns.find("completion");
  if (completion != columns.end() && completion->is_string()) return completion->get<std::string>();
  const bool message = completion != columns.end() && completion->is_array() && completion->size() == 1 &&
                       (*completion)[0].is_object() && (*completion)[0].value("content", Json()).is_string();
  if (message) return (*completion)[0]["content"].get<std::string>();
  return error("expected a column \"completion\": text, or one message of the assistant.");
}

// Σ logprobs, where the row has them.
Result<std::optional<double>> logprob_of(const Json& columns) {
  const auto logprobs = columns.find("logprobs");
  if (logprobs == columns.end() || logprobs->is_null()) return std::optional<double>();
  if (!logprobs->is_array()) return error("\"logprobs\" is a {}. Expected a list of numbers.", logprobs->type_name());
  double sum = 0;
  for (const Json& one : *logprobs) {
    if (!one.is_number()) return error("\"logprobs\" holds a {}. Expected numbers.", one.type_name());
    sum += one.get<double>();
  }
  if (!std::isfinite(sum)) return error("\"logprobs\" holds a number that is not finite.");
  return std::optional(sum);
}

// The column of that name; or, of "rewards.accuracy", what the column rewards holds under accuracy. Null: neither.
const Json* member(const Json& columns, const std::string& name) {
  if (columns.contains(name)) return &columns[name];
  const size_t dot = std::min(name.find('.'), name.size());
  const auto outer = columns.find(name.substr(0, dot));
  if (dot == name.size() || outer == columns.end() || !outer->is_object()) return nullptr;
  const std::string inner = name.substr(dot + 1);
  return outer->contains(inner) ? &(*outer)[inner] : nullptr;
}

Result<std::optional<double>> score_of(const Json& columns, const std::string& name) {
  const Json* value = member(columns, name);
  if (value == nullptr)
    return error("there is no column \"{}\". --score names the one that holds the reward; --reward_funcs computes it.",
                 name);
  if (value->is_null()) return std::optional<double>();
  if (value->is_boolean()) return std::optional(value->get<bool>() ? 1.0 : 0.0);
  if (!value->is_number())
    return error("\"{}\" is a {}. Expected a number, or null where nobody can say.", name, value->type_name());
  const auto score = value->get<double>();
  if (!std::isfinite(score)) return error("\"{}\" is not finite.", name);
  return std::optional(score);
}

// Σ weight·reward over those that do not abstain, as GRPO sums them; none where all do.
Result<void> compute_rewards(const PairsWords& words, const data::Rows& rows, std::vector<data::Rollout>& rollouts) {
  std::vector<rewards::Reward> all;
  for (const std::string& name : words.reward_funcs) all.push_back(TRY(rewards::make_reward(name, words.params)));
  data::Rows prompts{rows.name, {}};
  std::vector<std::vector<int32_t>> ids;
  for (const data::Row& row : rows.rows) {
    prompts.rows.push_back({prompt_columns(row.columns), row.number, row.line});
    ids.emplace_back();
    const auto given = row.columns.find("completion_ids");
    if (given == row.columns.end() || given->empty()) continue;
    auto read = data::read_ids(*given);
    if (!read) return error("[pairs] {}: \"completion_ids\" is no list of token ids.", data::place(rows.name, row));
    ids.back() = std::move(*read);
  }
  TRY(rewards::check_rows(all, prompts));
  std::vector<rewards::Completion> completions;
  for (size_t i = 0; i < rollouts.size(); ++i)
    completions.push_back({&prompts.rows[i].columns, rollouts[i].completion, ids[i], rollouts[i].finished});
  const std::vector<double> parts = TRY(rewards::score_all(all, completions));
  for (size_t i = 0; i < rollouts.size(); ++i)
    for (size_t k = 0; k < all.size(); ++k) {
      const double part = parts[i * all.size() + k];
      if (std::isnan(part)) continue;
      rollouts[i].reward =
          rollouts[i].reward.value_or(0) + part * (words.reward_weights.empty() ? 1.0 : words.reward_weights[k]);
    }
  return {};
}

Result<std::vector<data::Rollout>> read_rollouts(const PairsWords& words, const data::Rows& rows) {
  std::vector<data::Rollout> rollouts;
  for (const data::Row& row : rows.rows) {
    const auto read = [&]() -> Result<data::Rollout> {
      data::Rollout one;
      one.prompt = TRY(prompt_of(row.columns));
      one.completion = TRY(completion_of(row.columns));
      one.logprob = TRY(logprob_of(row.columns));
      one.finished = row.columns.value("finish_reason", Json()) != "length";
      one.row = row.number;
      if (words.reward_funcs.empty())
        one.reward = TRY(score_of(row.columns, words.score.empty() ? "reward" : words.score));
      return one;
    };
    auto one = read();
    if (!one) return error("[pairs] {}: {}", data::place(rows.name, row), one.error().message);
    rollouts.push_back(std::move(*one));
  }
  if (!words.reward_funcs.empty()) TRY(compute_rewards(words, rows, rollouts));
  return rollouts;
}

Result<data::Paired> make(const PairsWords& words, const std::vector<data::Rollout>& rollouts) {
  if (words.best_of) return data::best_of(rollouts, words.how);
  if (words.unpaired) return data::labelled(rollouts, words.how);
  return data::preference_pairs(rollouts, words.how);
}

Result<void> write_report(const std::string& path, const std::vector<data::Rollout>& rollouts,
                          const std::vector<std::string>& fates) {
  data::Rows rows{path, {}};
  for (size_t i = 0; i < fates.size(); ++i)
    rows.rows.push_back({Json{{"row", rollouts[i].row},
                              {"reward", rollouts[i].reward ? Json(*rollouts[i].reward) : Json()},
                              {"fate", fates[i]}},
                         static_cast<int64_t>(i) + 1, static_cast<int64_t>(i) + 1});
  return data::write_rows(rows, path);
}

Result<void> run_pairs(const PairsWords& words) {
  if (words.out != "-") TRY(data::check_output(words.out));
  if (!words.report.empty()) TRY(data::check_output(words.report));
  const data::Rows rows = TRY(data::read_rows(words.rollouts));
  const std::vector<data::Rollout> rollouts = TRY(read_rollouts(words, rows));
  const data::Paired made = TRY(make(words, rollouts));
  const std::vector<data::RowFate> fates = data::count_fates(rollouts, made.fates);
  if (!made.rows.rows.empty()) TRY(put_rows(made.rows, words.out));
  if (!words.report.empty()) TRY(write_report(words.report, rollouts, made.fates));
  std::FILE* to = words.out == "-" ? stderr : stdout;
  if (words.json) {
    Json counted = Json::array();
    for (const data::RowFate& fate : fates)
      counted.push_back({{"fate", fate.what}, {"rows", fate.rows}, {"first", fate.first}});
    fmt::print(to, "{}\n",
               data::json_line({{"rollouts", rollouts.size()}, {"rows", made.rows.rows.size()}, {"fates", counted}}));
  } else {
    fmt::print(to, "{} completions: {} rows written\n", rollouts.size(), made.rows.rows.size());
    for (const data::RowFate& fate : fates)
      fmt::print(to, "{:>8} {} (row{} {}{})\n", fate.rows, fate.what, fate.rows == 1 ? "" : "s",
                 fmt::join(fate.first, ", "), fate.rows > static_cast<int64_t>(fate.first.size()) ? ", …" : "");
  }
  if (made.rows.rows.empty())
    return error("[pairs] no row is left of {} completions, so nothing is written. The account says why.",
                 rollouts.size());
  return {};
}

// What two options together cannot mean, or nothing.
std::string contradiction(const PairsWords& words) {
  if (words.best_of && words.unpaired) return "--best_of and --unpaired make different rows";
  if (!words.score.empty() && !words.reward_funcs.empty()) return "--score and --reward_funcs both say the reward";
  if (!words.reward_weights.empty() && words.reward_weights.size() != words.reward_funcs.size())
    return fmt::format("--reward_weights has {} numbers for {} --reward_funcs", words.reward_weights.size(),
                       words.reward_funcs.size());
  if (words.min_score && !words.best_of && !words.unpaired) return "--min_score is for --best_of and --unpaired";
  if (words.unpaired && !words.min_score) return "--unpaired needs --min_score, the reward from which a row is good";
  return "";
}

}  // namespace

int data_pairs(const Words& words) {
  Options options("data pairs",
                  "Makes preference pairs of completions with a reward: rows of candor generate, or a run's "
                  "completions.jsonl. Says what became of every completion.");
  PairsWords pairs;
  CLI::App& app = options.app;
  app.add_option("ROLLOUTS", pairs.rollouts,
                 "rows of prompt and completion; candor generate --keep_row keeps each prompt's own row, conversation "
                 "and answer; - reads standard input")
      ->required();
  app.add_option("OUT", pairs.out,
                 "the new file; - writes JSON lines to standard output, the account to standard error")
      ->required();
  app.add_option("--score", pairs.score, "the column that holds the reward, as rewards.accuracy (default: reward)");
  app.add_option("--reward_funcs", pairs.reward_funcs,
                 "or compute it: accuracy, format, think_format, repetition; several with commas")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--reward_weights", pairs.reward_weights, "of their sum (default: 1 each)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--accuracy_extraction", pairs.params.extraction, "last_number, boxed, gsm8k, exact or regex:PATTERN");
  app.add_option("--format_regex", pairs.params.pattern, "what format matches a completion with");
  app.add_option("--pairs", pairs.pairs,
                 "best_worst: the best and the worst completion of each prompt (default); all: every two that differ; "
                 "hard: the best and the likeliest of those below it")
      ->check(CLI::IsMember({"best_worst", "all", "hard"}));
  app.add_option("--margin", pairs.how.margin,
                 "by how much the two rewards of a pair differ at least (default: at all)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--best_of", pairs.best_of,
               "instead of pairs the best completion of each prompt, as prompt and completion: best-of-n for SFT");
  app.add_flag("--unpaired", pairs.unpaired, "instead of pairs every completion with a label, for KTO");
  app.add_option("--min_score", pairs.min_score,
                 "with --best_of the reward that the best must have; with --unpaired that from which a label is true");
  app.add_flag("--cut_off_too", pairs.how.cut_off_too,
               "completions that were cut off (finish_reason length) may be chosen or labelled true as well");
  app.add_option("--report", pairs.report, "write every completion's row number, reward and fate to this new file");
  app.add_flag("--json", pairs.json, "the account as one JSON object");
  if (const auto over = options.parse(words)) return *over;
  if (const std::string wrong = contradiction(pairs); !wrong.empty()) {
    print_error(wrong + ". candor data pairs --help says what it takes.");
    return kUsage;
  }
  using data::Pairing;
  pairs.how.pairing = pairs.pairs == "all"    ? Pairing::kAll
                      : pairs.pairs == "hard" ? Pairing::kHard
                                              : Pairing::kBestWorst;
  pairs.how.least = pairs.min_score.value_or(-std::numeric_limits<double>::infinity());
  const auto done = run_pairs(pairs);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
