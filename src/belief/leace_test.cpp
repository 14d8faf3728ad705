// LEACE against the authors' own program, and by its promise: after it no linear reader does better than a constant.
#include "belief/leace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "engine/hidden_door.h"
#include "statistics/auroc.h"
#include "statistics/logistic_fit.h"

namespace candor::belief {
namespace {

constexpr size_t kWidth = 5;

// Numbers that float32 holds exactly.
std::vector<float> small_states() {
  std::vector<float> x;
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 5; ++j)
      x.push_back(static_cast<float>((3 * i * i + 5 * j * i + 7 * j) % 11 - 5) / 4 +
                  (j == 1 ? (i % 2 ? 0.875F : -0.375F) : 0.0F) + (j == 3 && i % 2 ? 0.5F : 0.0F));
  return x;
}

// U·Vᵀ [width][width].
std::vector<double> product(const Erasure& erasure, size_t width) {
  std::vector<double> out(width * width, 0.0);
  for (size_t k = 0; k < static_cast<size_t>(erasure.rank); ++k)
    for (size_t i = 0; i < width; ++i)
      for (size_t j = 0; j < width; ++j)
        out[i * width + j] +=
            static_cast<double>(erasure.u[k * width + i]) * static_cast<double>(erasure.v[k * width + j]);
  return out;
}

// concept-erasure 0.2.4: LeaceFitter.fit(x, z, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-9), float64;
// proj_left @ proj_right. Ours are floats: 1e-6.
TEST(Leace, AgreesWithTheAuthors) {
  const std::vector<float> x = small_states();
  std::vector<double> one, two;
  for (int i = 0; i < 16; ++i) {
    one.push_back(i % 2);
    two.push_back(i % 2);
    two.push_back(i / 4 % 3 == 1);
  }
  const std::vector<double> want_one{-0.00971537056480033,
                                     -0.0588065607679728,
                                     -0.0179482552952616,
                                     -0.0287283113172312,
                                     -0.0323059006989455,
                                     0.142492101617071,
                                     0.862496224596932,
                                     0.263241077663836,
                                     0.421348565986056,
                                     0.473819876917865,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0.0388614822592012,
                                     0.235226243071891,
                                     0.0717930211810462,
                                     0.114913245268924,
                                     0.129223602795781,
                                     0.00971537056480031,
                                     0.0588065607679727,
                                     0.0179482552952616,
                                     0.0287283113172311,
                                     0.0323059006989454};
  const std::vector<double> want_two{
      0.821714356076965,  -0.114800343349478,   -0.335341856395211,  0.424103674648412,  -0.19096197339101,
      -0.160485900185951, 0.882900696335584,    0.378901218220444,   0.256333861959869,  0.531635105719359,
      0.0352161638369483, -0.00237168116324885, -0.0134435715959805, 0.0191802204051426, -0.00672006072265236,
      0.340407450897813,  0.214918213583363,    -0.0433204488051178, 0.279148003136068,  0.0716816391308955,
      0.0234735760097937, 0.0578799954315247,   0.0126961380916859,  0.0362216150750171, 0.0296805160473647};
  const Erasure first = leace(x, kWidth, one, 1, {.shrinkage = 0}), both = leace(x, kWidth, two, 2, {.shrinkage = 0});
  EXPECT_EQ(first.rank, 1);
  EXPECT_EQ(both.rank, 2);
  for (size_t i = 0; i < 25; ++i) {
    EXPECT_NEAR(product(first, kWidth)[i], want_one[i], 1e-6) << i;
    EXPECT_NEAR(product(both, kWidth)[i], want_two[i], 1e-6) << i;
  }
}

struct World {
  static constexpr size_t kWidth = 24;
  std::vector<float> states;
  std::vector<double> labels;
  std::vector<uint8_t> bits;
};

// 200 states with a concept along several directions, of unequal spread.
World world_of(uint64_t seed) {
  World world;
  for (uint32_t row = 0; row < 200; ++row) {
    const bool label = random_uniform({seed, RngStream::kData, 0, row}, 0) < 0.5;
    world.labels.push_back(label);
    world.bits.push_back(label);
    for (size_t i = 0; i < World::kWidth; ++i) {
      const double spread = 0.3 + 0.2 * static_cast<double>(i % 7);
      const double normal = random_normal({seed, RngStream::kData, 1, row}, i);
      world.states.push_back(static_cast<float>(spread * normal + (label && i % 3 == 0 ? 1.0 : 0.0) + 0.1));
    }
  }
  return world;
}

std::vector<float> through_the_door(const Erasure& erasure, std::vector<float> states, size_t width) {
  const engine::HiddenDoor door = engine::erase_from_hidden(0, erasure.u, erasure.v, erasure.mean);
  for (size_t row = 0; row * width < states.size(); ++row) door.act({}, std::span(states).subspan(row * width, width));
  return states;
}

// The largest distance between the means of the two kinds, and how well the best linear reader of the same rows tells
// them apart.
struct Left {
  double distance = 0, auroc = 0;
};
Left left_of(const World& world, const std::vector<float>& states) {
  Left left;
  for (size_t i = 0; i < World::kWidth; ++i) {
    double sums[2] = {0, 0}, counts[2] = {0, 0};
    for (size_t row = 0; row < world.bits.size(); ++row) {
      sums[world.bits[row]] += static_cast<double>(states[row * World::kWidth + i]);
      counts[world.bits[row]] += 1;
    }
    left.distance = std::max(left.distance, std::abs(sums[1] / counts[1] - sums[0] / counts[0]));
  }
  const std::vector<double> features(states.begin(), states.end());
  // A penalty far below 200 rows' spread, but above that of the erased direction, which is float32's rounding.
  const statistics::LogisticFit reader = statistics::fit_logistic(features, world.bits, {}, {}, {.ridge = 1e-2});
  std::vector<double> scores;
  for (size_t row = 0; row < world.bits.size(); ++row)
    scores.push_back(reader.log_odds(std::span(features).subspan(row * World::kWidth, World::kWidth)));
  left.auroc = 0;
  for (const double coefficient : reader.coefficients) left.auroc = std::max(left.auroc, std::abs(coefficient));
  left.auroc = left.auroc < 1e-3 ? 0.5 : statistics::auroc(scores, world.bits);  // no coefficient: it reads a constant
  return left;
}

TEST(Leace, NoLinearReaderFindsItAndTheTwinsLeaveIt) {
  for (const double shrinkage : {0.0, 0.1, 0.9}) {
    const World world = world_of(1);
    const Erasure erasure = leace(world.states, World::kWidth, world.labels, 1, {.shrinkage = shrinkage});
    const Left left = left_of(world, through_the_door(erasure, world.states, World::kWidth));
    EXPECT_LT(left.distance, 1e-6);
    EXPECT_EQ(left.auroc, 0.5);
  }
  const World world = world_of(1);
  EXPECT_GT(left_of(world, world.states).auroc, 0.95);
  const auto half = [&](Erasure erasure) {
    for (float& value : erasure.u) value /= 2;
    return erasure;
  };
  const Erasure good = leace(world.states, World::kWidth, world.labels, 1);
  const World other = world_of(2);
  const std::vector<std::pair<std::string, std::function<Erasure()>>> twins{
      {"a random direction", [&] { return random_erasure(world.states, World::kWidth, 1, 0); }},
      {"half of it", [&] { return half(good); }},
      {"U for V",
       [&] {
         return Erasure{good.u, good.u, good.mean, 1};
       }},
      {"labels of other states", [&] { return leace(world.states, World::kWidth, other.labels, 1); }},
  };
  for (const auto& [broken, erasure] : twins)
    EXPECT_GT(left_of(world, through_the_door(erasure(), world.states, World::kWidth)).auroc, 0.8) << broken;
}

// It is the smallest change: the random direction with the same property does not exist, but the orthogonal one does.
TEST(Leace, ChangesLessThanAnyOtherErasureOfTheSameConcept) {
  const World world = world_of(3);
  const Erasure whole = leace(world.states, World::kWidth, world.labels, 1, {.shrinkage = 0});
  const Erasure plain = leace(world.states, World::kWidth, world.labels, 1, {.shrinkage = 0.99});
  const auto change = [&](const Erasure& erasure) {
    const std::vector<float> after = through_the_door(erasure, world.states, World::kWidth);
    double sum = 0;
    for (size_t i = 0; i < after.size(); ++i) sum += std::pow(static_cast<double>(after[i] - world.states[i]), 2);
    return sum;
  };
  EXPECT_LT(change(whole), change(plain));
  // The mean stays where it was.
  const std::vector<float> after = through_the_door(whole, world.states, World::kWidth);
  double sum = 0, before = 0;
  for (size_t row = 0; row < 200; ++row) {
    sum += static_cast<double>(after[row * World::kWidth]);
    before += static_cast<double>(world.states[row * World::kWidth]);
  }
  EXPECT_NEAR(sum / 200, before / 200, 1e-5);  // of float32
}

TEST(Leace, WhatIsNotThereIsNotErased) {
  const World world = world_of(4);
  EXPECT_EQ(leace(world.states, World::kWidth, std::vector<double>(200, 1.0), 1).rank, 0);  // no variation
  std::vector<double> twice;
  for (const double label : world.labels) {
    twice.push_back(label);
    twice.push_back(3 - 2 * label);
  }
  EXPECT_EQ(leace(world.states, World::kWidth, twice, 2).rank, 1);  // the second follows from the first
  EXPECT_EQ(leace({world.states.data(), World::kWidth}, World::kWidth, {world.labels.data(), 1}, 1).rank, 0);
  EXPECT_EQ(leace(std::vector<float>(40, 1.0F), 4, std::vector<double>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, 1).rank, 0);
  // More numbers than states: the shrinkage keeps it possible.
  EXPECT_EQ(leace({world.states.data(), 10 * World::kWidth}, World::kWidth, {world.labels.data(), 10}, 1).rank, 1);
}

TEST(Leace, RandomDirectionsAreOrthonormal) {
  const World world = world_of(5);
  const Erasure random = random_erasure(world.states, World::kWidth, 3, 9);
  ASSERT_EQ(random.rank, 3);
  for (size_t a = 0; a < 3; ++a)
    for (size_t b = 0; b < 3; ++b) {
      double sum = 0;
      for (size_t i = 0; i < World::kWidth; ++i)
        sum +=
            static_cast<double>(random.u[a * World::kWidth + i]) * static_cast<double>(random.v[b * World::kWidth + i]);
      EXPECT_NEAR(sum, a == b, 1e-6);
    }
  EXPECT_NE(random.u, random_erasure(world.states, World::kWidth, 3, 10).u);
}

}  // namespace
}  // namespace candor::belief
