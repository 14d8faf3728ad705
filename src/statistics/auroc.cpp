#include "statistics/auroc.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"

namespace candor::statistics {

double auroc(std::span<const double> scores, std::span<const uint8_t> labels) {
  CHECK(scores.size() == labels.size());
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double below = 0, wins = 0, positives = 0;  // labels 0 below the present score; pairs won
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    double ones = 0, zeros = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end)
      ++(labels[order[end]] ? ones : zeros);
    wins += ones * (below + 0.5 * zeros);
    below += zeros;
    positives += ones;
    begin = end;
  }
  if (below == 0 || positives == 0) return std::numeric_limits<double>::quiet_NaN();
  return wins / (below * positives);
}

}  // namespace candor::statistics
