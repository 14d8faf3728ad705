// The head's backward with a vocabulary of tens of thousands, against the same sums in double.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;

// A model whose head rows share a direction, as those of trained models do.
class SharedDirection : public files::WeightReader {
 public:
  explicit SharedDirection(std::unique_ptr<files::WeightReader> inner) : inner_(std::move(inner)) {}
  const std::vector<files::WeightInfo>& weights() const override { return inner_->weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    TRY(inner_->read_rows(name, begin, end, out));
    if (name == "lm_head.weight")
      for (int64_t i = 0; i < (end - begin) * inner_->find(name)->shape[1]; ++i) out[i] += 1.0f;
    return {};
  }

 private:
  std::unique_ptr<files::WeightReader> inner_;
};

// Relative error of d logprob / d hidden, worst of some rows.
double worst_error(const char* level) {
  files::ModelConfig config = testing::tiny_config();
  config.vocab_size = 40000;
  config.layers = 1;
  Bench bench(2, level);
  files::ModelFiles files = testing::random_model_files(config, 4);
  files.weights = std::make_unique<SharedDirection>(std::move(files.weights));
  const Model model = bench.load(files);
  const int64_t width = padded(config.hidden_size), rows = 6;
  std::vector<float> hidden(static_cast<size_t>(rows * width), 0.0f), gradient(hidden.size(), 0.0f);
  std::vector<HeadRow> head_rows;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < config.hidden_size; ++i)
      hidden[row * width + i] =
          static_cast<float>(5 * random_uniform({2, RngStream::kData, 3, 0}, row * width + i) - 2.5);
    head_rows.push_back({row, static_cast<int32_t>(17 + 6000 * row)});
  }
  const HeadOutput forward = head_forward(*bench.context, model.head_matrix(), hidden.data(), head_rows, 1.0);
  head_backward(*bench.context, model.head_matrix(), hidden.data(), head_rows, 1.0, forward,
                {std::vector<float>(rows, 1.0f), {}}, gradient.data(), nullptr);

  double worst = 0;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<std::vector<float>> w(config.vocab_size, std::vector<float>(config.hidden_size));
    std::vector<double> z(config.vocab_size, 0.0), expected(config.hidden_size, 0.0);
    double sum = 0, error = 0, size = 0;
    for (int64_t v = 0; v < config.vocab_size; ++v) {
      model.head_matrix().copy_row(v, w[v].data());
      for (int64_t i = 0; i < config.hidden_size; ++i) z[v] += static_cast<double>(w[v][i]) * hidden[row * width + i];
      sum += std::exp(z[v]);
    }
    for (int64_t v = 0; v < config.vocab_size; ++v)
      for (int64_t i = 0; i < config.hidden_size; ++i)
        expected[i] += ((v == head_rows[row].target ? 1.0 : 0.0) - std::exp(z[v]) / sum) * static_cast<double>(w[v][i]);
    for (int64_t i = 0; i < config.hidden_size; ++i) {
      error += std::pow(static_cast<double>(gradient[row * width + i]) - expected[i], 2);
      size += expected[i] * expected[i];
    }
    worst = std::max(worst, std::sqrt(error / size));
  }
  return worst;
}

TEST(HeadGradient, UnlikelyTokensAreNotLost) {
  for (const char* level : {"plain", ""}) {
    const double worst = worst_error(level);
    // Logits of some 20 have errors of a few 1e-6, and so have the probabilities; one float chain over the vocabulary
    // would be off by 1.4e-4.
    EXPECT_LT(worst, 1e-5) << level;
  }
}

// All logits kept, those of some rows, of a call that starts behind the first row, or none: the same bits.
TEST(HeadGradient, KeptLogitsChangeNoBit) {
  files::ModelConfig config = testing::tiny_config();
  config.vocab_size = 1300;  // three blocks, the last one partial
  for (const char* dtype : {"float32", "bfloat16", "int8"}) {
    Bench bench(2, "", testing::dtype_of(dtype));
    const Model model = bench.random_model(3, config);
    const int64_t width = padded(config.hidden_size), rows = 230;
    std::vector<float> hidden(static_cast<size_t>(rows * width), 0.0f), dlogprob(rows), dentropy(rows);
    std::vector<HeadRow> head_rows;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < config.hidden_size; ++i)
        hidden[row * width + i] =
            static_cast<float>(random_uniform({2, RngStream::kData, 3, 0}, row * width + i) - 0.5);
      head_rows.push_back({row, static_cast<int32_t>(5 * row)});
      dlogprob[row] = row % 3 == 1 ? 0.0f : 0.1f * static_cast<float>(row % 7);
      dentropy[row] = row % 3 == 1 ? 0.0f : 0.01f;
    }
    std::vector<float> expected;
    HeadOutput expected_output;
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{100}, int64_t{229}, rows, rows + 50}) {
      const int64_t first = count > rows ? 50 : 0;
      std::vector<float> logits(static_cast<size_t>(kept_floats(count, config.vocab_size)));
      const KeptLogits kept{logits.data(), count, first};
      std::vector<float> gradient(hidden.size(), 0.0f);
      const HeadOutput output =
          head_forward(*bench.context, model.head_matrix(), hidden.data(), head_rows, 0.9, std::nullopt, kept);
      head_backward(*bench.context, model.head_matrix(), hidden.data(), head_rows, 0.9, output, {dlogprob, dentropy},
                    gradient.data(), nullptr, std::nullopt, kept);
      if (count == 0) expected = gradient, expected_output = output;
      EXPECT_EQ(output.logprobs, expected_output.logprobs) << dtype << ' ' << count;
      EXPECT_EQ(gradient, expected) << dtype << ' ' << count;
      if (count == 0) continue;
      // What is kept is read.
      std::fill(logits.begin(), logits.end(), 0.0f);
      head_backward(*bench.context, model.head_matrix(), hidden.data(), head_rows, 0.9, output, {dlogprob, dentropy},
                    gradient.data(), nullptr, std::nullopt, kept);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] *= 2;
      EXPECT_NE(gradient, expected) << dtype << ' ' << count;
      for (size_t i = 0; i < expected.size(); ++i) expected[i] /= 2;
    }
    EXPECT_EQ(kept_rows(1000000, 49152), 170);
    EXPECT_EQ(kept_rows(7, 49152), 7);
  }
}

}  // namespace
}  // namespace candor::engine
