// A small trained model (karpathy/tinyllamas, stories260K) against llama2.c's published output and against a decoder in
// double that is written here from the formulas and shares nothing with the engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "engine/sampler.h"
#include "engine/score.h"
#include "engine/testing.h"
#include "support/golden_model.h"
#include "support/llama2c.h"

namespace candor::engine {
namespace {

using candor::testing::open_llama2c;
using candor::testing::value_of;
using testing::Bench;
using ::testing::ElementsAreArray;

std::filesystem::path model_path() {
  return candor::testing::shared_dir() / "data/stories260K/checkpoint_legacy.bin";
}

// The pieces of llama2.c's tokenizer.bin: int32 longest, then float score, int32 length and bytes of each.
std::vector<std::string> read_pieces(int64_t vocabulary) {
  const std::string bytes =
      candor::testing::read_text(candor::testing::shared_dir() / "data/stories260K/tokenizer.bin");
  std::vector<std::string> pieces;
  for (size_t at = 4; static_cast<int64_t>(pieces.size()) < vocabulary && at + 8 <= bytes.size();) {
    int32_t length;
    std::memcpy(&length, bytes.data() + at + 4, 4);
    pieces.push_back(bytes.substr(at + 8, static_cast<size_t>(length)));
    at += 8 + static_cast<size_t>(length);
  }
  return pieces;
}

// llama2.c prints pieces as they are, byte pieces "<0x0A>" as bytes, and no space after BOS.
std::string text_of(const std::vector<std::string>& pieces, const std::vector<int32_t>& ids) {
  std::string text;
  for (int32_t id : ids) {
    std::string piece = pieces[static_cast<size_t>(id)];
    if (piece.size() == 6 && piece.starts_with("<0x"))
      piece = static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
    text += text.empty() && piece.starts_with(' ') ? piece.substr(1) : piece;
  }
  return text;
}

// Logits [tokens][vocabulary] of a Llama with a tied head, in double, one token after another.
class PlainDecoder {
 public:
  explicit PlainDecoder(const files::ModelFiles& files) : c_(files.config), files_(files) {}

  std::vector<std::vector<double>> logits(const std::vector<int32_t>& ids) {
    std::vector<Row> x;
    for (int32_t id : ids) x.push_back(matrix("model.embed_tokens")[static_cast<size_t>(id)]);
    for (int64_t l = 0; l < c_.layers; ++l) layer(fmt::format("model.layers.{}.", l), x);
    const Row norm = column("model.norm");
    for (Row& row : x) row = product(matrix("model.embed_tokens"), rms(row, norm));
    return x;
  }

 private:
  using Row = std::vector<double>;
  using Matrix = std::vector<Row>;

  const Matrix& matrix(const std::string& name) {
    Matrix& m = cache_[name];
    if (!m.empty()) return m;
    const files::WeightInfo* info = files_.weights->find(name + ".weight");
    const int64_t width = info->shape.size() == 2 ? info->shape[1] : 1;
    std::vector<float> row(static_cast<size_t>(width));
    for (int64_t i = 0; i < info->shape[0]; ++i) {
      EXPECT_TRUE(files_.weights->read_rows(name + ".weight", i, i + 1, row.data()));
      m.emplace_back(row.begin(), row.end());
    }
    return m;
  }
  Row column(const std::string& name) {
    Row values;
    for (const Row& row : matrix(name)) values.push_back(row[0]);
    return values;
  }
  static Row product(const Matrix& m, const Row& x) {
    Row y;
    for (const Row& row : m) y.push_back(std::inner_product(row.begin(), row.end(), x.begin(), 0.0));
    return y;
  }
  Row rms(const Row& x, const Row& weight) const {
    const double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / static_cast<double>(x.size());
    Row y(x.size());
    for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * weight[i] / std::sqrt(mean + c_.norm_eps);
    return y;
  }
  void rotate(Row& x, size_t position) const {
    const auto d = static_cast<size_t>(c_.head_dim);
    for (size_t head = 0; head < x.size(); head += d)
      for (size_t i = 0; i < d / 2; ++i) {
        const double angle =
            static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d));
        const double a = x[head + i], b = x[head + i + d / 2];
        x[head + i] = a * std::cos(angle) - b * std::sin(angle);
        x[head + i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
  }
  Row attention(const Row& q, const Matrix& keys, const Matrix& values) const {
    const auto d = static_cast<size_t>(c_.head_dim), group = static_cast<size_t>(c_.heads / c_.kv_heads);
    Row out(q.size(), 0.0);
    for (size_t head = 0; head * d < q.size(); ++head) {
      const size_t kv = head / group * d;
      double sum = 0;
      for (size_t t = 0; t < keys.size(); ++t) {
        double score = 0;
        for (size_t i = 0; i < d; ++i) score += q[head * d + i] * keys[t][kv + i];
        const double p = std::exp(score / std::sqrt(static_cast<double>(d)));
        sum += p;
        for (size_t i = 0; i < d; ++i) out[head * d + i] += p * values[t][kv + i];
      }
      for (size_t i = 0; i < d; ++i) out[head * d + i] /= sum;
    }
    return out;
  }
  void layer(const std::string& name, Matrix& x) {
    const Row first = column(name + "input_layernorm"), second = column(name + "post_attention_layernorm");
    Matrix keys, values;
    for (size_t t = 0; t < x.size(); ++t) {
      Row normed = rms(x[t], first), q = product(matrix(name + "self_attn.q_proj"), normed);
      keys.push_back(product(matrix(name + "self_attn.k_proj"), normed));
      values.push_back(product(matrix(name + "self_attn.v_proj"), normed));
      rotate(q, t);
      rotate(keys.back(), t);
      add(product(matrix(name + "self_attn.o_proj"), attention(q, keys, values)), x[t]);
      normed = rms(x[t], second);
      Row gate = product(matrix(name + "mlp.gate_proj"), normed);
      const Row up = product(matrix(name + "mlp.up_proj"), normed);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1.0 + std::exp(-gate[i]));
      add(product(matrix(name + "mlp.down_proj"), gate), x[t]);
    }
  }
  static void add(const Row& from, Row& to) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  }

  const files::ModelConfig& c_;
  const files::ModelFiles& files_;
  std::map<std::string, Matrix> cache_;
};

class Stories260K : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    CANDOR_REQUIRE_FILE(model_path());
    files_.emplace(value_of(open_llama2c(model_path())));
    bench_ = std::make_unique<Bench>(2, GetParam());
    model_.emplace(bench_->load(*files_));
  }
  std::vector<Completion> sampled(const SamplingOptions& options, int64_t completions) {
    const std::vector<SampleRequest> requests = {{{1}, completions}};  // BOS
    return sample(*bench_->context, *model_, nullptr, requests, options, nullptr, {})[0];
  }

  std::optional<files::ModelFiles> files_;
  std::unique_ptr<Bench> bench_;
  std::optional<Model> model_;
};

TEST_P(Stories260K, GreedyTextIsLlama2cs) {
  SamplingOptions options;
  options.temperature = 0;
  options.max_new_tokens = 200;
  const Completion completion = sampled(options, 1)[0];
  // What llama2.c's own test (test_all.py, 200 steps at temperature 0) wants from its C and PyTorch versions.
  EXPECT_EQ(
      text_of(read_pieces(files_->config.vocab_size), completion.ids),
      "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
      "a big, red ball. She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the "
      "park.\" Lily was sad and didn't know what to do. She said, \"I want to play with your ball, but I can't find "
      "it.\"\nLily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"\nLily "
      "didn't want to help her mom, so she");
}

TEST_P(Stories260K, LogitsAreThoseOfTheFormulas) {
  SamplingOptions options;
  options.max_new_tokens = 90;  // pages of 16, straddled
  options.seed = 3;
  std::vector<int32_t> ids = {1};
  const Completion completion = sampled(options, 1)[0];
  ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
  const auto expected = PlainDecoder(*files_).logits(ids);
  candor::testing::RowsForward forward(*bench_->context, *model_, nullptr, {ids}, Activations::Keep::kOneLayer);
  const auto logits = forward.logits(0, forward.tokens());
  std::vector<double> flat;
  for (const auto& row : expected) flat.insert(flat.end(), row.begin(), row.end());
  // Five layers of float32: the tiny random models of shared/golden lose 1e-5 on logits up to 11 in two.
  candor::testing::expect_within("logits", candor::testing::worst_difference(logits, flat), 1e-4);
  const HeadOutput next = forward.next();
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    double sum = 0, weighted = 0;
    for (double z : expected[t]) sum += std::exp(z), weighted += std::exp(z) * z;
    EXPECT_NEAR(next.logprobs[t], expected[t][static_cast<size_t>(ids[t + 1])] - std::log(sum), 1e-4);  // as the logits
    EXPECT_NEAR(next.entropy[t], std::log(sum) - weighted / sum, 1e-4);
  }
}

TEST_P(Stories260K, TheModelKnowsItsOwnStories) {
  SamplingOptions options;
  options.temperature = 0;
  options.max_new_tokens = 200;
  const Completion greedy = sampled(options, 1)[0];
  std::vector<int32_t> ids = {1};
  ids.insert(ids.end(), greedy.ids.begin(), greedy.ids.end());
  std::vector<int32_t> shuffled = ids;
  for (size_t i = 1; i < shuffled.size(); ++i) shuffled[i] = ids[1 + (i * 83) % (ids.size() - 1)];
  std::vector<double> nll;
  const std::vector<std::vector<int32_t>> sequences = {ids, shuffled};
  score_sequences(*bench_->context, *model_, nullptr, sequences, [&](size_t, const SequenceScore& score) {
    nll.push_back(-std::accumulate(score.logprobs.begin(), score.logprobs.end(), 0.0) /
                  static_cast<double>(score.logprobs.size() - 1));
    return true;
  });
  EXPECT_LT(nll[0], 0.8);  // the likeliest token each time
  EXPECT_GT(nll[1], 4.0);  // the same tokens as salad; ln 512 = 6.2 would be no knowledge at all
}

TEST_P(Stories260K, SamplesAreReproducibleAndWithoutGap) {
  SamplingOptions options;
  options.temperature = 0.9;
  options.max_new_tokens = 60;
  options.seed = 11;
  const auto first = sampled(options, 4), again = sampled(options, 4);
  const std::vector<int32_t> prompt = {1};
  RolloutGroup group{prompt, {}};
  std::vector<float> policy;
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].ids, again[i].ids);
    EXPECT_EQ(first[i].policy_logprobs, again[i].policy_logprobs);
    group.completions.emplace_back(first[i].ids);
    policy.insert(policy.end(), first[i].policy_logprobs.begin(), first[i].policy_logprobs.end());
  }
  EXPECT_NE(first[0].ids, first[1].ids);
  PolicyPass pass(*bench_->context, "policy", *model_, 0, PolicyPass::Keep::kOneLayer);
  EXPECT_THAT(pass.forward(nullptr, {&group, 1}, 0.9).logprobs, ElementsAreArray(policy));  // bit for bit
}

INSTANTIATE_TEST_SUITE_P(Levels, Stories260K, ::testing::Values("plain", ""),
                         [](const auto& info) { return *info.param == '\0' ? "best" : "plain"; });

}  // namespace
}  // namespace candor::engine
