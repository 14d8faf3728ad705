// Attention over blocks of keys against a softmax in double, and against what it would be if a block forgot that the
// maximum before it was smaller. (Gradients: gradient_test.cpp; bits: contract_test.cpp.)
#include "engine/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

constexpr int64_t kPositions = 45;  // three blocks, the last one short

enum class Twin { kNone, kSumNotRescaled, kTotalNotRescaled };

struct Expected {
  std::vector<double> out;
  double log_sum = 0;
};

// One query's head: blocks of 16 keys with a running maximum.
Expected online_softmax(const std::vector<double>& scores, const std::vector<std::vector<double>>& values, Twin twin) {
  std::vector<double> sum(values[0].size(), 0.0);
  double maximum = -INFINITY, total = 0;
  for (size_t first = 0; first < scores.size(); first += kPageTokens) {
    const size_t end = std::min(first + kPageTokens, scores.size());
    const double before = maximum;
    for (size_t t = first; t < end; ++t) maximum = std::max(maximum, scores[t]);
    const double factor = std::exp(before - maximum);
    if (twin != Twin::kSumNotRescaled)
      for (double& x : sum) x *= factor;
    if (twin != Twin::kTotalNotRescaled) total *= factor;
    for (size_t t = first; t < end; ++t) {
      const double p = std::exp(scores[t] - maximum);
      total += p;
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += p * values[t][i];
    }
  }
  for (double& x : sum) x /= total;
  return {sum, maximum + std::log(total)};
}

// 45 positions whose scores rise or fall along the keys, in one segment behind `position` others.
class Case {
 public:
  Case(Bench& bench, double slope, int64_t position) : config_(testing::tiny_config()) {
    const int64_t width = config_.kv_heads * config_.head_dim, row = padded(config_.heads * config_.head_dim);
    KvPool kv(bench.ledger, "test", config_, Dtype::kFloat32);
    std::vector<int32_t> pages;
    for (int64_t t = 0; t < kPositions; ++t) {
      if (t % kPageTokens == 0) pages.push_back(kv.take());
      Floats k = noise(width, static_cast<uint32_t>(100 + t));
      for (int64_t head = 0; head < config_.kv_heads; ++head)
        k[head * config_.head_dim] = static_cast<float>(slope * static_cast<double>(t));
      keys_.push_back(std::move(k));
      values_.push_back(noise(width, static_cast<uint32_t>(200 + t)));
      kv.store(pages.back(), 0, t, keys_.back().data(), values_.back().data());
    }
    tokens_ = kPositions - position, position_ = position;
    TokenBatch batch;
    batch.append(std::vector<int32_t>(static_cast<size_t>(tokens_), 0), position, pages);
    q_ = noise(tokens_ * row, 1);
    for (int64_t token = 0; token < tokens_; ++token)
      for (int64_t head = 0; head < config_.heads; ++head) q_[token * row + head * config_.head_dim] = 1.0f;
    out_.resize(q_.size());
    log_sum_.resize(static_cast<size_t>(tokens_ * config_.heads));
    Floats scratch(static_cast<size_t>(bench.pool.threads() * attention_scratch_floats(config_)));
    attention_forward(*bench.context, config_, batch, kv, 0, {q_.data(), out_.data(), log_sum_.data()}, scratch.data());
  }

  // The largest difference from the online softmax, over outputs and log-sums.
  double distance(Twin twin) const {
    double worst = 0;
    const int64_t row = padded(config_.heads * config_.head_dim), d = config_.head_dim;
    for (int64_t token = 0; token < tokens_; ++token)
      for (int64_t head = 0; head < config_.heads; ++head) {
        const int64_t kv = head / (config_.heads / config_.kv_heads) * d;
        std::vector<double> scores;
        std::vector<std::vector<double>> values;
        for (int64_t t = 0; t <= position_ + token; ++t) {
          double score = 0;
          for (int64_t i = 0; i < d; ++i)
            score += static_cast<double>(q_[token * row + head * d + i]) * static_cast<double>(keys_[t][kv + i]);
          scores.push_back(score / std::sqrt(static_cast<double>(d)));
          values.emplace_back(values_[t].begin() + kv, values_[t].begin() + kv + d);
        }
        const Expected expected = online_softmax(scores, values, twin);
        auto compare = [&](float ours, double theirs) {
          worst = std::max(worst, std::abs(static_cast<double>(ours) - theirs));
        };
        for (int64_t i = 0; i < d; ++i) compare(out_[token * row + head * d + i], expected.out[i]);
        compare(log_sum_[token * config_.heads + head], expected.log_sum);
      }
    return worst;
  }

 private:
  files::ModelConfig config_;
  std::vector<Floats> keys_, values_;
  Floats q_, out_, log_sum_;
  int64_t tokens_ = 0, position_ = 0;
};

class Attention : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, Attention, ::testing::ValuesIn(testing::level_names()),
                         [](const auto& info) { return info.param; });

// Scores of up to 5 in float32 are off by up to 12 roundings of half an ulp of 5·√12, 12·2^-24·17 = 1e-5, and
// probabilities by as much of themselves.
constexpr double kRounding = 2e-5;

TEST_P(Attention, BlocksAddUpToTheSoftmaxWhereverTheLargestScoreIs) {
  Bench bench(2, GetParam());
  for (const double slope : {0.0, 0.35, -0.35})
    for (const int64_t position : {int64_t{0}, int64_t{20}, kPositions - 1})
      EXPECT_LT(Case(bench, slope, position).distance(Twin::kNone), kRounding) << slope << " " << position;
}

TEST_P(Attention, ABlockThatForgetsToRescaleIsSeen) {
  Bench bench(2, GetParam());
  const Case rising(bench, 0.35, 0);
  EXPECT_GT(rising.distance(Twin::kSumNotRescaled), 0.1);
  EXPECT_GT(rising.distance(Twin::kTotalNotRescaled), 0.1);
  const Case falling(bench, -0.35, 0);  // the first block holds the largest score, so there is nothing to rescale
  EXPECT_LT(falling.distance(Twin::kTotalNotRescaled), 0.1);
}

}  // namespace
}  // namespace candor::engine
