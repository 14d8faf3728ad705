#include "statistics/auroc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace candor::statistics {
namespace {

// Pairs (1, 0) of scores: 0.4 beats 0.1, loses to 0.5, ties with 0.4; 0.8 beats all three: (1 + 0.5 + 3)/6.
TEST(Auroc, CountsPairsOnPaper) {
  const std::vector<double> scores{0.4, 0.1, 0.5, 0.8, 0.4};
  const std::vector<uint8_t> labels{1, 0, 0, 1, 0};
  EXPECT_DOUBLE_EQ(auroc(scores, labels), 0.75);
  std::vector<uint8_t> turned = labels;
  for (uint8_t& label : turned) label = !label;
  EXPECT_DOUBLE_EQ(auroc(scores, turned), 0.25);
}

TEST(Auroc, Ends) {
  EXPECT_EQ(auroc(std::vector<double>{1, 2, 3}, std::vector<uint8_t>{0, 0, 1}), 1);
  EXPECT_EQ(auroc(std::vector<double>{2, 2, 2}, std::vector<uint8_t>{0, 1, 1}), 0.5);
  EXPECT_TRUE(std::isnan(auroc(std::vector<double>{1, 2}, std::vector<uint8_t>{1, 1})));
  EXPECT_TRUE(std::isnan(auroc({}, {})));
}

}  // namespace
}  // namespace candor::statistics
