// How well a score ranks items of two kinds.
#pragma once

#include <cstdint>
#include <span>

namespace candor::statistics {

// Area under the ROC curve: the probability that a score of label 1 is above one of label 0, a tie counting half (Mann
// and Whitney 1947). 0.5: the score knows nothing. NaN without items of either label. No score is NaN.
double auroc(std::span<const double> scores, std::span<const uint8_t> labels);

}  // namespace candor::statistics
