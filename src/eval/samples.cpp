#include "eval/samples.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "rewards/answers.h"
#include "statistics/bootstrap.h"

namespace candor::eval {
namespace {

AtK at_k(const SampledResult& result, int64_t k) {
  std::vector<double> pass, majority;
  double pass_sum = 0, majority_sum = 0;
  for (const SampledItem& item : result.items) {
    pass.push_back(pass_at_k(result.samples, item.correct, k));
    majority.push_back(majority_correct(item, k) ? 1 : 0);
    pass_sum += pass.back();
    majority_sum += majority.back();
  }
  const auto count = static_cast<double>(std::max<size_t>(result.items.size(), 1));
  return {k, pass_sum / count, majority_sum / count, statistics::bootstrap_mean(pass),
          statistics::bootstrap_mean(majority)};
}

text::Json pair_of(statistics::Interval interval) {
  return text::Json::array({interval.low, interval.high});
}

}  // namespace

double pass_at_k(int64_t samples, int64_t correct, int64_t k) {
  CHECK(correct >= 0 && correct <= samples && k >= 1 && k <= samples);
  if (samples - correct < k) return 1.0;
  double none = 1;
  for (int64_t i = samples - correct + 1; i <= samples; ++i)
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - none;
}

bool majority_correct(const SampledItem& item, int64_t k) {
  struct Voice {
    const Sample* first;
    int64_t count;
  };
  std::vector<Voice> voices;
  for (int64_t i = 0; i < k; ++i) {
    const Sample& sample = item.samples[static_cast<size_t>(i)];
    if (!sample.answer) continue;
    const auto same = std::find_if(voices.begin(), voices.end(), [&](const Voice& voice) {
      return rewards::same_answer(*voice.first->answer, *sample.answer);
    });
    if (same == voices.end())
      voices.push_back({&sample, 1});
    else
      ++same->count;
  }
  const auto most =
      std::max_element(voices.begin(), voices.end(), [](const Voice& a, const Voice& b) { return a.count < b.count; });
  return most != voices.end() && most->first->correct;
}

Result<SampledResult> grade_samples(const Task& task, std::span<const Answered> completions, int64_t samples) {
  CHECK(samples >= 1);
  const size_t rows = task.rows.rows.size(), each = static_cast<size_t>(samples);
  if (completions.size() != rows * each)
    return error("[eval] {}: expected {} completions, {} for each row, got {}.", task.rows.name, rows * each, samples,
                 completions.size());
  SampledResult result;
  result.task = task.rows.name;
  result.samples = samples;
  result.items.resize(rows);
  std::vector<Answered> nth(rows);
  double tokens = 0;
  for (size_t j = 0; j < each; ++j) {
    for (size_t i = 0; i < rows; ++i) nth[i] = completions[i * each + j];
    EvalResult graded = TRY(grade(task, nth));
    for (size_t i = 0; i < rows; ++i) {
      ItemResult& one = graded.items[i];
      SampledItem& item = result.items[i];
      item.gold = std::move(one.gold);
      item.correct += one.correct;
      item.samples.push_back({std::move(one.completion), std::move(one.answer), one.correct});
    }
    tokens += graded.mean_tokens;
    result.unfinished += graded.unfinished;
  }
  result.mean_tokens = tokens / static_cast<double>(samples);
  for (int64_t k = 1; k < samples; k *= 2) result.at.push_back(at_k(result, k));
  result.at.push_back(at_k(result, samples));
  return result;
}

text::Json to_json(const SampledResult& result) {
  text::Json at = text::Json::array();
  for (const AtK& one : result.at)
    at.push_back({{"k", one.k},
                  {"pass", one.pass},
                  {"pass_interval", pair_of(one.pass_interval)},
                  {"majority", one.majority},
                  {"majority_interval", pair_of(one.majority_interval)}});
  text::Json json;
  json["task"] = result.task;
  json["samples"] = result.samples;
  json["items"] = result.items.size();
  json["at"] = std::move(at);
  json["mean_tokens"] = result.mean_tokens;
  json["unfinished"] = result.unfinished;
  return json;
}

}  // namespace candor::eval
