// Several completions of each item: the chance that at least one of k is right (pass@k), and the answer that most of
// them give (maj@k).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "eval/report.h"
#include "eval/tasks.h"
#include "statistics/proportions.h"

namespace candor::eval {

// The unbiased estimate of pass@k from n samples of which c are right, 1 <= k <= n: 1 - C(n-c, k) / C(n, k), the chance
// that k of them drawn without replacement hold a right one (Chen et al. 2021, arXiv 2107.03374, equation 1, computed
// as the product below it). 1 - (1 - c/n)^k is biased.
double pass_at_k(int64_t samples, int64_t correct, int64_t k);

struct Sample {
  Answered completion;
  std::optional<std::string> answer;  // as extracted
  bool correct = false;
};

struct SampledItem {
  std::string gold;
  std::vector<Sample> samples;
  int64_t correct = 0;
};

// Over the items, with the bootstrap's 95% interval over items.
struct AtK {
  int64_t k = 1;
  double pass = 0, majority = 0;
  statistics::Interval pass_interval, majority_interval;
};

struct SampledResult {
  std::string task;
  int64_t samples = 0;  // of each item
  std::vector<SampledItem> items;
  std::vector<AtK> at;  // k = 1, 2, 4, … and `samples`
  double mean_tokens = 0;
  int64_t unfinished = 0;
};

// Whether the answer that most of the first k samples give is right. Equal numbers are one answer, whatever their
// spelling; a completion without an answer has no voice; of two answers with as many voices the earlier one wins; no
// answer at all is wrong.
bool majority_correct(const SampledItem& item, int64_t k);

// `completions` are those of the task's rows, in order, `samples` of each, side by side. Errors: those of grade().
Result<SampledResult> grade_samples(const Task& task, std::span<const Answered> completions, int64_t samples);

// samples, items, at ({k, pass, pass_interval, majority, majority_interval}), mean_tokens, unfinished.
text::Json to_json(const SampledResult& result);

}  // namespace candor::eval
