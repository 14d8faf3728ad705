// Plain English prose, unlike any task here: whether training on a task has made ordinary text less likely.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "statistics/proportions.h"

namespace candor::eval {

// Twelve paragraphs on everyday subjects, 80 to 120 words each, written for this project, so in no training corpus.
std::span<const std::string_view> prose_paragraphs();

// What a model says of the paragraphs: for each, the sum of -ln p over its tokens but the first, and their number.
struct ProseScore {
  std::vector<double> nll_nats;
  std::vector<int64_t> tokens;
};

struct ProseComparison {
  double before_nats_per_token = 0, after_nats_per_token = 0;
  double difference = 0;                      // after - before: above 0, prose has become less likely
  statistics::Interval interval;              // of the mean paragraph difference, bootstrap over paragraphs, 95%
  std::vector<double> paragraph_differences;  // the same for each paragraph
  int64_t paragraphs_worse = 0;
};

// Means over all tokens. Errors: numbers of paragraphs or tokens that differ, no token, a likelihood that is not
// finite.
Result<ProseComparison> compare_prose(const ProseScore& before, const ProseScore& after);

}  // namespace candor::eval
