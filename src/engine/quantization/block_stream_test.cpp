// Blocks run one at a time against the model run whole.
#include "engine/quantization/block_stream.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/sequence_pass.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;
using testing::random_model_files;
using testing::tiny_config;

std::vector<std::vector<int32_t>> sequences() {
  std::vector<std::vector<int32_t>> ids;
  for (uint32_t row = 0; row < 5; ++row) ids.push_back(random_ids(7 + 40 * row, tiny_config().vocab_size, row));
  return ids;
}

int64_t count(const std::vector<std::vector<int32_t>>& ids) {
  int64_t tokens = 0;
  for (const auto& row : ids) tokens += static_cast<int64_t>(row.size());
  return tokens;
}

// tr(W M Wᵀ), which is Σ over tokens of |W x|².
double output_squares(const files::WeightReader& weights, const std::string& name, const InputMoments& moments) {
  const files::WeightInfo* info = weights.find(name + ".weight");
  std::vector<float> row(static_cast<size_t>(moments.width));
  double sum = 0;
  for (int64_t out = 0; out < info->shape[0]; ++out) {
    EXPECT_TRUE(weights.read_rows(info->name, out, out + 1, row.data()));
    for (int64_t i = 0; i < moments.width; ++i)
      for (int64_t j = 0; j < moments.width; ++j)
        sum += static_cast<double>(row[i]) * moments.sums[i * moments.width + j] * static_cast<double>(row[j]);
  }
  return sum;
}

double squares(const float* x, const float* less, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double value = static_cast<double>(x[i]) - (less == nullptr ? 0.0 : static_cast<double>(less[i]));
    sum += value * value;
  }
  return sum;
}

// The outputs of a linear layer have the length that the moments of its inputs say: of q, gate and up as they stand in
// the activations, of o and down as what they add to the residual stream. The rotation of q keeps lengths.
TEST(BlockStream, MomentsAreThoseOfTheInputs) {
  const files::ModelFiles files = random_model_files(tiny_config(), 1);
  Bench bench;
  const Model model = bench.load(files);
  SequencePass pass(*bench.context, "test", model, Activations::Keep::kAllLayers);
  const auto ids = sequences();
  Activations& activations = pass.forward(ids);
  const int64_t tokens = count(ids), hidden = tokens * padded(40), q = tokens * padded(72), inner = tokens * padded(72);
  auto stream = BlockStream::start(*bench.context, files, ids);
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->tokens(), tokens);
  for (int64_t layer = 0; layer < 3; ++layer) {
    SCOPED_TRACE(layer);
    const auto moments = stream->moments(layer);
    ASSERT_TRUE(moments) << moments.error().message;
    const LayerActivations a = activations.layer(layer);
    const float* output = layer < 2 ? activations.layer(layer + 1).input : activations.final_input();
    const std::tuple<Linear, const float*, const float*, int64_t> cases[] = {{Linear::kQ, a.q, nullptr, q},
                                                                             {Linear::kO, a.middle, a.input, hidden},
                                                                             {Linear::kGate, a.gate, nullptr, inner},
                                                                             {Linear::kUp, a.up, nullptr, inner},
                                                                             {Linear::kDown, output, a.middle, hidden}};
    for (const auto& [linear, value, less, size] : cases) {
      const double expected = squares(value, less, size);
      const InputMoments& input = (*moments)[static_cast<size_t>(input_of(linear))];
      // float32 sums over some four hundred tokens
      EXPECT_NEAR(output_squares(*files.weights, module_path(files.config, layer, linear), input), expected,
                  1e-5 * expected)
          << module_path(files.config, layer, linear);
    }
    ASSERT_TRUE(stream->advance(layer, {}));
  }
}

TEST(BlockStream, ReplacedWeightsCarryTheStream) {
  files::ModelFiles files = random_model_files(tiny_config(), 1);
  Bench bench;
  auto stream = BlockStream::start(*bench.context, files, sequences());
  const auto before = stream->moments(1);
  const std::vector<float> zeros(40 * 72, 0.0f), also(40 * 72, 0.0f);
  // A block that adds nothing is no block: the second reads what the first would have read.
  ASSERT_TRUE(stream->advance(0, {{Linear::kO, zeros}, {Linear::kDown, also}}));
  EXPECT_EQ(stream->moments(1)->front().sums, before->front().sums);
  ASSERT_TRUE(stream->advance(0, {}));
  EXPECT_NE(stream->moments(1)->front().sums, before->front().sums);
}

TEST(BlockStream, ThreadsChangeNothing) {
  const files::ModelFiles files = random_model_files(tiny_config(), 1);
  Bench one(1), three(3);
  auto a = BlockStream::start(*one.context, files, sequences()),
       b = BlockStream::start(*three.context, files, sequences());
  ASSERT_TRUE(a->advance(0, {}));
  ASSERT_TRUE(b->advance(0, {}));
  const auto x = a->moments(1), y = b->moments(1);
  for (size_t i = 0; i < kBlockInputs; ++i) EXPECT_EQ((*x)[i].sums, (*y)[i].sums);
}

}  // namespace
}  // namespace candor::engine
