// Statements whose states are written down: truth lies along one direction of the second layer that is read, and the
// first holds noise alone.
#include "belief/representation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"

namespace candor::belief {
namespace {

constexpr size_t kWidth = 12;

struct Written {
  std::vector<Proposition> rows;
  StatementStates states;

  explicit Written(size_t items, double truth = 2) {
    states.width = kWidth;
    states.layers.resize(2);
    uint64_t drawn = 0;
    const auto noise = [&] { return 2 * random_uniform({3, RngStream::kData, 0, 0}, drawn++) - 1; };
    for (size_t i = 0; i < items; ++i) {
      rows.emplace_back();
      rows.back().topic = fmt::format("topic {}", i % 4);
      rows.back().label = i % 8 < 4;
      for (const bool negated : {false, true})
        for (size_t layer = 0; layer < 2; ++layer)
          for (size_t k = 0; k < kWidth; ++k) {
            const double tau = *rows.back().label != negated ? 1 : -1;
            const double here = layer == 1 && k == 5 ? truth * tau : k == 7 && negated ? 3 : 0;
            states.layers[layer].push_back(static_cast<float>(noise() + here));
          }
    }
  }
};

TEST(Representation, ReadsTheLayerThatHoldsTruthOnTopicsThatItHasNotSeen) {
  const Written written(80);
  const auto reader = TruthReader::fit(written.rows, written.states);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->layer(), 1u);
  ASSERT_EQ(reader->reports().size(), 3u);
  EXPECT_GT(reader->reports()[0].auroc, 0.95);
  for (const std::string& topic : {std::string("elsewhere"), std::string()})
    for (size_t i = 0; i < written.rows.size(); ++i) {
      const double own = reader->score(written.rows[i].topic, written.states, i);
      EXPECT_EQ(own > 0, *written.rows[i].label) << i;
      EXPECT_LT(std::abs(own), 5);  // standardised
      EXPECT_EQ(reader->score(topic, written.states, i) > 0, *written.rows[i].label) << i;
    }
}

TEST(Representation, ErasesTruthAndNotARandomDirection) {
  const Written written(80);
  const auto reader = TruthReader::fit(written.rows, written.states);
  ASSERT_TRUE(reader);
  // Between the means of true and false statements once r(x) = x - U(Vᵀ(x - μ)) is taken.
  const auto gap_behind = [&](const Erasure& erasure) {
    double gap = 0;
    for (size_t i = 0; i < written.rows.size(); ++i)
      for (const bool negated : {false, true}) {
        const auto x = written.states.of(1, i, negated);
        double left = static_cast<double>(x[5]);
        for (int64_t r = 0; r < erasure.rank; ++r) {
          const size_t at = static_cast<size_t>(r) * kWidth;
          double dot = 0;
          for (size_t k = 0; k < kWidth; ++k)
            dot += static_cast<double>(erasure.v[at + k]) * static_cast<double>(x[k] - erasure.mean[k]);
          left -= static_cast<double>(erasure.u[at + 5]) * dot;
        }
        gap += (*written.rows[i].label != negated ? left : -left) / static_cast<double>(written.rows.size());
      }
    return gap;
  };
  EXPECT_NEAR(gap_behind(reader->erasure()), 0, 1e-4);  // float32 directions
  EXPECT_GT(gap_behind(reader->random_erasure(1)), 1);
}

TEST(Representation, TooFewControlsTeachNothing) {
  const Written few(16);
  EXPECT_FALSE(TruthReader::fit(few.rows, few.states));
}

TEST(Representation, LayersOfShallowModels) {
  EXPECT_EQ(probed_layers(30), (std::vector<int64_t>{11, 15, 18, 22}));
  EXPECT_EQ(probed_layers(2), (std::vector<int64_t>{1}));
  EXPECT_EQ(probed_layers(1), (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace candor::belief
