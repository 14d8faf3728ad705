#include "belief/truth_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "belief/contrast_probe.h"

namespace candor::belief {
namespace {

std::vector<size_t> all(const ProbeRows& rows) {
  std::vector<size_t> out(rows.rows());
  std::iota(out.begin(), out.end(), size_t{0});
  return out;
}

// Owns the states that ProbeRows looks at.
struct World {
  std::vector<float> states;
  ProbeRows rows;

  const ProbeRows& view(size_t width) {
    rows.states = states;
    rows.width = width;
    return rows;
  }
};

World small_world() {
  World world;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 5; ++j)
      world.states.push_back(static_cast<float>((3 * i * i + 5 * j * i + 7 * j) % 11 - 5) / 4 +
                             (j == 1 ? (i % 2 ? 0.875F : -0.375F) : 0.0F) + (j == 3 && i % 2 ? 0.5F : 0.0F));
    world.rows.truth.push_back(i % 2);
    world.rows.polarity.push_back(i / 2 % 2);
    world.rows.topics.push_back(i / 8 ? "b" : "a");
  }
  return world;
}

void near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12);
}

// learn_truth_directions of the authors' probes.py, inv(DᵀD)DᵀA on states centred by topic and polarity; without two
// rows np.linalg.lstsq with a constant for each topic and polarity.
TEST(TruthProbe, DirectionsAgreeWithTheAuthors) {
  World world = small_world();
  const ProbeRows& rows = world.view(5);
  const TruthDirections whole = truth_directions(rows, all(rows));
  near(whole.general, {-0.046875, 0.6875, 0, 0.1875, 0.046875});
  near(whole.polar, {-0.109375, 0.0625, -0.28125, 0.0625, 0.234375});
  std::vector<size_t> some = all(rows);
  std::erase(some, 0u);
  std::erase(some, 5u);
  const TruthDirections part = truth_directions(rows, some);
  near(part.general, {-0.223958333333333, 0.666666666666667, -0.0364583333333334, 0.25, 0.0364583333333333});
  near(part.polar, {0.0677083333333333, 0.0833333333333334, -0.244791666666667, 0, 0.244791666666667});
}

constexpr size_t kWidth = 12;

// Statements and their negations on six topics: a state is τ·t_G + τ·p·t_P + p·(a direction of its own) + the topic's
// own place + noise, t_G = e0, t_P = 2·e1.
World world_of(uint64_t seed, double general = 1.5) {
  World world;
  for (uint32_t i = 0; i < 240; ++i) {
    const bool truth = random_uniform({seed, RngStream::kData, 0, i}, 0) < 0.5;
    for (const bool affirmative : {true, false}) {
      const double t = truth == affirmative ? 1 : -1, p = affirmative ? 1 : -1;
      const size_t row = world.rows.rows(), topic = i % 6;
      for (size_t j = 0; j < kWidth; ++j) {
        double x = random_normal({seed, RngStream::kData, 1, static_cast<uint32_t>(row)}, j);
        if (j == 0) x += general * t;
        if (j == 1) x += 2 * t * p;
        if (j == 2) x += 2 * p;
        x += 0.5 * random_normal({seed, RngStream::kData, 2, static_cast<uint32_t>(topic)}, j);
        world.states.push_back(static_cast<float>(x));
      }
      world.rows.truth.push_back(t > 0);
      world.rows.polarity.push_back(affirmative);
      world.rows.topics.push_back("topic " + std::to_string(topic));
    }
    world.rows.pairs.emplace_back(2 * i, 2 * i + 1);
  }
  return world;
}

TEST(TruthProbe, FindsTruthOnTopicsItHasNotSeen) {
  World world = world_of(1);
  const ProbeRows& rows = world.view(kWidth);
  // Along t_G the two kinds are three deviations apart: an AUROC of Φ(3/√2) = 0.983; topics' places cost some, and
  // means alone more, since they take the polar direction in.
  for (const ProbeKind kind : {ProbeKind::kTwoDirections, ProbeKind::kMeans}) {
    const ProbeReport report = report_probe(kind, rows, {});
    EXPECT_GT(report.auroc, 0.85) << name_of(kind);
    EXPECT_NEAR(report.shuffled_auroc, 0.5, 0.12) << name_of(kind);  // 480 rows: a standard error of 0.026
    EXPECT_EQ(report.topics.size(), 6u);
    EXPECT_TRUE(std::isnan(report.plausibility_auroc));
    EXPECT_TRUE(std::isnan(report.truth_by_plausibility));
  }
}

// Where only the polar direction carries truth, affirmative statements alone teach a probe that is wrong about negated
// ones; with both, t_G is nothing and the probe knows that it knows nothing.
TEST(TruthProbe, APolarFeatureIsNotTruth) {
  World world = world_of(2, 0);
  EXPECT_NEAR(report_probe(ProbeKind::kTwoDirections, world.view(kWidth), {}).auroc, 0.5, 0.12);
}

TEST(TruthProbe, BrokenTwinsAreRejected) {
  World world = world_of(1);
  const ProbeRows& rows = world.view(kWidth);
  const auto cosine = [&](const ProbeRows& seen, const std::vector<size_t>& train) {
    const std::vector<double> found = truth_directions(seen, train).general;
    double length = 0;
    for (const double value : found) length += value * value;
    return found[0] / std::sqrt(length);  // with the true t_G
  };
  EXPECT_GT(cosine(rows, all(rows)), 0.97);
  ProbeRows turned = rows, no_meaning = rows;
  std::vector<size_t> affirmative;
  for (size_t row = 0; row < rows.rows(); ++row) {
    turned.truth[row] = rows.truth[row] == rows.polarity[row];
    no_meaning.truth[row] = row / 2 % 2;
    if (rows.polarity[row]) affirmative.push_back(row);
  }
  const std::vector<std::pair<std::string, std::function<double()>>> twins{
      {"affirmative statements alone", [&] { return cosine(rows, affirmative); }},
      {"the statement's truth for its negation", [&] { return cosine(turned, all(rows)); }},
      {"labels without meaning", [&] { return cosine(no_meaning, all(rows)); }},
  };
  for (const auto& [broken, twin] : twins) EXPECT_LT(twin(), 0.9) << broken;
}

// A topic's labels do not teach the probe that judges it.
TEST(TruthProbe, ScoresAreOfProbesThatHaveNotSeenTheTopic) {
  World world = world_of(3);
  const ProbeRows rows = world.view(kWidth);
  ProbeRows turned = rows;
  for (size_t row = 0; row < rows.rows(); ++row)
    if (rows.topics[row] == "topic 0") turned.truth[row] = !rows.truth[row];
  for (const ProbeKind kind : {ProbeKind::kTwoDirections, ProbeKind::kMeans, ProbeKind::kContrast}) {
    const ProbeOptions options{.restarts = 1, .steps = 20};
    const std::vector<double> before = held_out_scores(kind, rows, options);
    const std::vector<double> after = held_out_scores(kind, turned, options);
    for (size_t row = 0; row < rows.rows(); ++row)
      if (rows.topics[row] == "topic 0") {
        EXPECT_EQ(before[row], after[row]) << name_of(kind);
      }
    if (kind != ProbeKind::kContrast) {
      EXPECT_NE(before, after) << name_of(kind);
    }
  }
}

TEST(TruthProbe, AReaderOfPlausibilityIsFoundOut) {
  World world = world_of(4, 0);
  ProbeRows rows = world.view(kWidth);
  // States that hold plausibility, and truths that are mostly plausible.
  std::vector<double> plausibility;
  for (size_t row = 0; row < rows.rows(); ++row) {
    const double value = random_normal({9, RngStream::kData, 0, static_cast<uint32_t>(row)}, 0);
    plausibility.push_back(value);
    world.states[row * kWidth + 7] = static_cast<float>(4 * value);
    rows.truth[row] = value + 0.7 * random_normal({9, RngStream::kData, 1, static_cast<uint32_t>(row)}, 0) > 0;
  }
  const ProbeReport report = report_probe(ProbeKind::kTwoDirections, rows, plausibility);
  EXPECT_GT(report.auroc, 0.8);
  EXPECT_GT(report.plausibility_auroc, report.auroc);
  EXPECT_GE(report.truth_by_plausibility, report.auroc - 0.05);
  // Truth itself is not plausibility.
  World honest = world_of(1);
  const ProbeReport true_reader = report_probe(ProbeKind::kTwoDirections, honest.view(kWidth), plausibility);
  EXPECT_NEAR(true_reader.plausibility_auroc, 0.5, 0.1);
  EXPECT_GT(true_reader.auroc, true_reader.truth_by_plausibility + 0.2);
}

TEST(TruthProbe, StandardisedAndPure) {
  World world = world_of(5);
  const ProbeRows& rows = world.view(kWidth);
  const std::vector<double> scores = held_out_scores(ProbeKind::kTwoDirections, rows, {});
  double mean = 0, squares = 0;
  for (const double score : scores) mean += score / 480;
  for (const double score : scores) squares += score * score / 480;
  EXPECT_LT(std::abs(mean), 1.0);  // topics lie elsewhere
  EXPECT_GT(squares, 0.5);
  EXPECT_EQ(scores, held_out_scores(ProbeKind::kTwoDirections, rows, {}));
}

TEST(TruthProbe, WhatCannotBeFittedIsZero) {
  World world = world_of(6);
  ProbeRows rows = world.view(kWidth);
  rows.truth.assign(rows.rows(), 1);
  EXPECT_EQ(fit_probe(ProbeKind::kTwoDirections, rows, all(rows), {}).weights, std::vector<double>(kWidth, 0.0));
  rows = world.view(kWidth);
  rows.topics.assign(rows.rows(), "one");
  EXPECT_EQ(held_out_scores(ProbeKind::kMeans, rows, {}), std::vector<double>(rows.rows(), 0.0));
  rows.pairs.clear();
  EXPECT_EQ(fit_probe(ProbeKind::kContrast, rows, all(rows), {}).weights, std::vector<double>(kWidth, 0.0));
}

// mean of (0.1² + 0.2², 0.1² + 0.2², 0.2² + 0.6²).
TEST(ContrastProbe, LossOnPaper) {
  EXPECT_NEAR(contrast_loss(std::vector<double>{0.9, 0.2, 0.6}, std::vector<double>{0.2, 0.7, 0.6}),
              0.16666666666666666, 1e-15);
  EXPECT_EQ(contrast_loss(std::vector<double>{1, 0}, std::vector<double>{0, 1}), 0);
}

TEST(ContrastProbe, FindsWhatStatementAndNegationDisagreeOn) {
  World world = world_of(7, 3);
  // Without labels it takes whatever pairs disagree on; here only truth is left: no polar direction.
  for (size_t row = 0; row < world.rows.rows(); ++row) {
    const double t = world.rows.truth[row] ? 1 : -1, p = world.rows.polarity[row] ? 1 : -1;
    world.states[row * kWidth + 1] -= static_cast<float>(2 * t * p);
  }
  const ProbeRows& rows = world.view(kWidth);
  const ProbeReport report = report_probe(ProbeKind::kContrast, rows, {});
  EXPECT_GT(report.auroc, 0.9);
  EXPECT_GT(report.accuracy, 0.8);
}

}  // namespace
}  // namespace candor::belief
