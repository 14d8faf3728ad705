// Two evaluations of the same items, compared item by item: from the rows that `candor eval --output` writes, or any
// file whose rows have an `id` and a score.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/rows.h"
#include "statistics/paired.h"

namespace candor::eval {

// One evaluation. Rows of one id are samples of one item, whose score is their mean.
struct ItemScores {
  std::string task;              // of the file, or of the task
  std::vector<std::string> ids;  // in order of first appearance
  std::vector<double> scores;    // of each
  bool right_or_wrong = true;    // one row for each item, each 0 or 1
};

// From rows with `id` (text or number) and `column` (a number, true or false); an empty column: `correct`, else
// `score`. Errors, with file and row: one of them missing or of another kind, a number that is not finite.
Result<ItemScores> item_scores(const data::Rows& rows, const std::string& column = "");

struct ScoreComparison {
  std::string task;
  int64_t items = 0;
  double a = 0, b = 0, difference = 0;             // means, and b - a
  statistics::Interval interval;                   // of the difference, 95%
  double p_value = 1, p_adjusted = 1;              // p_adjusted: Holm over the tasks compared (adjust)
  std::optional<statistics::PairedCounts> counts;  // of right_or_wrong
  // The smallest difference that as many items, changing as these did, show at 5% with a power of 80%; none: where no
  // difference could be shown.
  std::optional<double> detectable;
};

// Right or wrong: McNemar's exact test and Newcombe's paired interval. Otherwise the bootstrap's interval of the mean
// difference over items, and the sign-flip permutation test. Error: not the same ids (says how many are missing where),
// no items.
Result<ScoreComparison> compare_scores(const ItemScores& a, const ItemScores& b);

// Sets p_adjusted of all.
void adjust(std::vector<ScoreComparison>& tasks);

// "B is better than A on sums: 30.0% to 70.0% of 100 items, +40.0 points (95% interval +28.0 to +50.1), p = 4.7e-10."
// p is the adjusted one. At 5% where it is not below: "No difference between … was shown".
std::string in_words(const ScoreComparison& comparison, const std::string& name_a, const std::string& name_b);

text::Json to_json(const ScoreComparison& comparison);

}  // namespace candor::eval
