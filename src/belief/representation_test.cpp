// Statements whose states are written down: truth lies along one direction of the second layer that is read, and the
// first holds noise alone.
#include "belief/representation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "engine/score.h"
#include "support/golden_model.h"

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
  std::vector<double> plausibility;  // which those sentences that are negations lack, and falsehood does not
  for (size_t i = 0; i < written.rows.size(); ++i)
    plausibility.insert(plausibility.end(), {-1.0 - 0.01 * static_cast<double>(i), -3.0});
  const auto reader = TruthReader::fit(written.rows, written.states, plausibility);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->layer(), 1u);
  for (const ProbeReport& report : reader->reports()) {
    EXPECT_NEAR(report.truth_by_plausibility, 0.5, 0.05);  // 80 items in groups of four, each true and then false
    EXPECT_LT(report.plausibility_auroc, report.auroc);
  }
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
  const auto reader = TruthReader::fit(written.rows, written.states, {});
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

// The definition, each sentence scored by itself.
TEST(Representation, PlausibilityIsTheMeanLogProbabilityOfATokenThatIsPredicted) {
  engine::MemoryLedger ledger;
  ThreadPool pool(1);
  const engine::Context context{**engine::select_kernels(""), pool, ledger};
  const files::ModelFiles files =
      candor::testing::value_of(files::open_model(candor::testing::source_dir() / "models/tiny"));
  const engine::Model model = candor::testing::value_of(engine::load_model(context, files));
  const eval::Subject subject{context, model, nullptr, *files.tokenizer};
  std::vector<std::vector<int32_t>> sentences = {{7, 8, 9, 10}, {5}, {9, 30, 2}};
  const auto found = read_plausibility(subject, sentences, {});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[1], 0);
  for (const size_t i : {size_t{0}, size_t{2}})
    engine::score_sequences(
        context, model, nullptr, std::span(sentences).subspan(i, 1), [&](size_t, const engine::SequenceScore& score) {
          double mean = 0;
          for (size_t t = 1; t < sentences[i].size(); ++t)
            mean += static_cast<double>(score.logprobs[t]) / static_cast<double>(sentences[i].size() - 1);
          EXPECT_NEAR((*found)[i], mean, 1e-12);  // doubles, added in another order
          EXPECT_LT(mean, 0);
          return true;
        });
  EXPECT_FALSE(read_plausibility(subject, sentences, [] { return true; }));
}

TEST(Representation, TooFewControlsTeachNothing) {
  const Written few(16);
  EXPECT_FALSE(TruthReader::fit(few.rows, few.states, {}));
}

TEST(Representation, LayersOfShallowModels) {
  EXPECT_EQ(probed_layers(30), (std::vector<int64_t>{11, 15, 18, 22}));
  EXPECT_EQ(probed_layers(2), (std::vector<int64_t>{1}));
  EXPECT_EQ(probed_layers(1), (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace candor::belief
