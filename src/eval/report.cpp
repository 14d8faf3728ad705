#include "eval/report.h"

#include <cmath>
#include <utility>

#include "rewards/answers.h"

namespace candor::eval {
namespace {

std::vector<uint8_t> flags(const EvalResult& result) {
  std::vector<uint8_t> correct;
  correct.reserve(result.items.size());
  for (const ItemResult& item : result.items) correct.push_back(item.correct);
  return correct;
}

text::Json pair_of(statistics::Interval interval) {
  return text::Json::array({interval.low, interval.high});
}

}  // namespace

Result<EvalResult> grade(const Task& task, std::span<const Answered> completions) {
  const auto& rows = task.rows.rows;
  if (completions.size() != rows.size()) {
    return error("[eval] {}: expected {} completions, one for each row, got {}.", task.rows.name, rows.size(),
                 completions.size());
  }
  const rewards::AnswerExtractor extractor = TRY(rewards::make_extractor(task.extraction));
  EvalResult result;
  result.task = task.rows.name;
  result.items.reserve(rows.size());
  double tokens = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto fault = [&](const Error& e) {
      return error("[eval] {}: {}", data::place(task.rows.name, rows[i]), e.message);
    };
    auto gold = rewards::gold_answer(rows[i].columns, extractor);
    if (!gold) return fault(gold.error());
    if (!gold->has_value()) return fault(error("the answer is null. Evaluation needs an answer in every row."));
    auto answer = rewards::extract_answer(completions[i].text, extractor);
    if (!answer) return fault(answer.error());
    const bool correct = answer->has_value() && rewards::same_answer(**answer, **gold);
    result.items.push_back({correct, **std::move(gold), *std::move(answer), completions[i]});
    result.correct += correct;
    result.unfinished += !completions[i].finished;
    tokens += static_cast<double>(completions[i].tokens);
  }
  const auto count = static_cast<double>(std::max<size_t>(rows.size(), 1));
  result.accuracy = static_cast<double>(result.correct) / count;
  result.mean_tokens = tokens / count;
  result.interval = statistics::clopper_pearson(result.correct, static_cast<int64_t>(rows.size()));
  return result;
}

Result<Comparison> compare(const EvalResult& before, const EvalResult& after) {
  const auto different = [&](std::string what) {
    return error("[eval] the results of \"{}\" and \"{}\" are not of the same items: {}.", before.task, after.task,
                 what);
  };
  if (before.items.size() != after.items.size()) {
    return different(fmt::format("{} and {}", before.items.size(), after.items.size()));
  }
  for (size_t i = 0; i < before.items.size(); ++i) {
    if (before.items[i].gold != after.items[i].gold) return different(fmt::format("item {} has another answer", i + 1));
  }
  Comparison comparison;
  comparison.counts = statistics::paired_counts(flags(before), flags(after));
  comparison.difference = comparison.counts.difference();
  comparison.interval = statistics::paired_difference(comparison.counts);
  comparison.p_value = statistics::mcnemar_exact(comparison.counts.only_before, comparison.counts.only_after);
  return comparison;
}

text::Json to_json(const EvalResult& result) {
  text::Json json;
  json["task"] = result.task;
  json["accuracy"] = result.accuracy;
  json["correct"] = result.correct;
  json["items"] = result.items.size();
  json["interval"] = pair_of(result.interval);
  json["mean_tokens"] = result.mean_tokens;
  json["unfinished"] = result.unfinished;
  return json;
}

text::Json to_json(const Comparison& comparison) {
  text::Json json;
  json["before"] = comparison.counts.before();
  json["after"] = comparison.counts.after();
  json["difference"] = comparison.difference;
  json["interval"] = pair_of(comparison.interval);
  json["p_value"] = comparison.p_value;
  json["both"] = comparison.counts.both;
  json["only_before"] = comparison.counts.only_before;
  json["only_after"] = comparison.counts.only_after;
  json["neither"] = comparison.counts.neither;
  return json;
}

std::string in_words(const EvalResult& result) {
  return fmt::format("{} of {} ({:.0f}%, 95% interval {:.0f} to {:.0f}%)", result.correct, result.items.size(),
                     100 * result.accuracy, 100 * result.interval.low, 100 * result.interval.high);
}

std::string in_words(const Comparison& comparison) {
  return fmt::format("{:.0f}% to {:.0f}%, {:+.0f} points ({:+.0f} to {:+.0f}), p = {:.2g} by McNemar's exact test",
                     100 * comparison.counts.before(), 100 * comparison.counts.after(), 100 * comparison.difference,
                     100 * comparison.interval.low, 100 * comparison.interval.high, comparison.p_value);
}

}  // namespace candor::eval
