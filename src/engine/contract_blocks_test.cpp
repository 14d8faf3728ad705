// The contract of docs/adr/0002 on a base that is a GGUF file's own blocks, bit for bit: a file in Q8_0, whose rows of
// q and k are permuted, and a model in which the matrices are Q4_1 and all K types in turn, at every kernel level.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "engine/sampler.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::value_of;
using testing::Bench;
using testing::random_ids;

// Random codes and inner scales; the outer ones such that weights spread by some 0.1.
struct BlockSpread {
  uint32_t number;
  int64_t scale_at, minimum_at;  // in the block; -1: none
  float scale, minimum;
};
constexpr BlockSpread kTypes[] = {{3, 0, 2, 1.3e-2f, -0.1f},     // Q4_1
                                  {10, 80, 82, 8e-3f, 1.2e-2f},  // Q2_K to Q6_K
                                  {11, 108, -1, 2.4e-3f, 0},    {12, 0, 2, 4e-4f, 3e-3f},
                                  {13, 0, 2, 2e-4f, 3e-3f},     {14, 208, -1, 7.5e-5f, 0}};

class MixedBlocks : public files::WeightReader {
 public:
  explicit MixedBlocks(std::unique_ptr<files::WeightReader> shapes) : shapes_(std::move(shapes)) {
    for (files::WeightInfo info : shapes_->weights()) {
      if (info.shape.size() == 2) info.type = type_of(infos_.size()).name;
      infos_.push_back(std::move(info));
    }
  }
  const std::vector<files::WeightInfo>& weights() const override { return infos_; }
  const files::GgufBlockType* block_type(std::string_view name) const override {
    return find(name)->shape.size() == 2 ? &type_of(index_of(name)) : nullptr;
  }
  Result<void> read_blocks(std::string_view name, int64_t begin, int64_t end, uint8_t* raw) const override {
    const BlockSpread& k = kTypes[index_of(name) % std::size(kTypes)];
    const files::GgufBlockType& type = *block_type(name);
    const int64_t blocks = find(name)->shape[1] / type.values;
    const RngKey key{3, RngStream::kData, 0, static_cast<uint32_t>(index_of(name))};
    for (int64_t block = begin * blocks; block < end * blocks; ++block, raw += type.bytes) {
      for (int64_t i = 0; i < type.bytes; ++i)
        raw[i] = static_cast<uint8_t>(random_words(key, static_cast<uint64_t>(block * type.bytes + i))[0]);
      auto put = [&](int64_t at, float value) {
        const uint16_t half = float_to_half(value);
        if (at >= 0) std::memcpy(raw + at, &half, sizeof(half));
      };
      put(k.scale_at, k.scale);
      put(k.minimum_at, k.minimum);
    }
    return {};
  }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    const files::GgufBlockType* type = block_type(name);
    if (type == nullptr) return shapes_->read_rows(name, begin, end, out);
    const int64_t blocks = (end - begin) * find(name)->shape[1] / type->values;
    std::vector<uint8_t> raw(static_cast<size_t>(blocks * type->bytes));
    TRY(read_blocks(name, begin, end, raw.data()));
    type->dequantize(raw.data(), blocks, out);
    return {};
  }

 private:
  static const files::GgufBlockType& type_of(size_t index) {
    return *files::find_block_type(kTypes[index % std::size(kTypes)].number);
  }
  size_t index_of(std::string_view name) const { return static_cast<size_t>(find(name) - infos_.data()); }

  std::unique_ptr<files::WeightReader> shapes_;
  std::vector<files::WeightInfo> infos_;
};

files::ModelFiles mixed_model() {
  files::ModelConfig c = testing::tiny_config();
  c.hidden_size = c.intermediate_size = 256;
  c.layers = 1;
  c.heads = 4, c.head_dim = 64;
  c.vocab_size = 163;  // as the other
  files::ModelFiles files = testing::random_model_files(c, 1);
  files.weights = std::make_unique<MixedBlocks>(std::move(files.weights));
  return files;
}

class ContractOnBlocks : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  static constexpr int64_t kVocabulary = 163;

  void SetUp() override { CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf")); }
  std::string_view level() const { return std::get<0>(GetParam()); }
  static Dtype dtype() { return testing::dtype_of("blocks"); }
  Model model(Bench& bench) const {
    const bool from_file = std::get<1>(GetParam()) == "q8_0";
    return bench.load(from_file ? value_of(files::open_model(golden("gguf/llama_q8_0.gguf"))) : mixed_model());
  }
};
INSTANTIATE_TEST_SUITE_P(All, ContractOnBlocks,
                         ::testing::Combine(::testing::ValuesIn(testing::level_names()),
                                            ::testing::Values("q8_0", "mixed")),
                         [](const auto& info) { return std::get<0>(info.param) + "_" + std::get<1>(info.param); });

TEST_P(ContractOnBlocks, TheMatricesAreTheBlocks) {
  Bench bench(2, level(), dtype());
  const Model kept = model(bench);
  EXPECT_TRUE(kept.embedding.quantized());
  for (const Linear linear : linears_of(kept.config)) EXPECT_TRUE(kept.layers[0][linear].quantized());
}

// What the sampler reports is what the trainer computes, with the group's prompt shared and as one sequence alone.
TEST_P(ContractOnBlocks, ZeroGapWhoeverSharesTheBatch) {
  Bench bench(2, level(), dtype());
  const Model base = model(bench);
  const Adapter adapter = bench.random_adapter(base);
  const std::vector<SampleRequest> requests = {{random_ids(17, kVocabulary, 1), 3}, {random_ids(5, kVocabulary, 2), 2}};
  SamplingOptions options;
  options.max_new_tokens = 18;
  options.max_rows = 3;  // rows come and go
  const auto sampled = sample(*bench.context, base, &adapter, requests, options, nullptr, {});
  PolicyPass pass(*bench.context, "policy", base, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  int64_t tokens = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    RolloutGroup group{requests[i].prompt, {}};
    std::vector<float> reported;
    for (const Completion& completion : sampled[i]) {
      group.completions.emplace_back(completion.ids);
      reported.insert(reported.end(), completion.logprobs.begin(), completion.logprobs.end());
      std::vector<int32_t> sequence = requests[i].prompt;
      sequence.insert(sequence.end(), completion.ids.begin(), completion.ids.end());
      const RolloutGroup alone{std::span(sequence).first(1), {std::span(sequence).subspan(1)}};
      const std::vector<float> logprobs = pass.forward(&adapter, {&alone, 1}, 1.0).logprobs;
      EXPECT_TRUE(std::equal(completion.logprobs.begin(), completion.logprobs.end(),
                             logprobs.begin() + static_cast<std::ptrdiff_t>(requests[i].prompt.size()) - 1));
      tokens += static_cast<int64_t>(completion.ids.size());
    }
    EXPECT_EQ(pass.forward(&adapter, {&group, 1}, 1.0).logprobs, reported);
  }
  EXPECT_GT(tokens, 30);
}

TEST_P(ContractOnBlocks, GradientsDoNotDependOnThreadsOrMicroBatches) {
  const std::vector<std::vector<int32_t>> prompts = {random_ids(15, kVocabulary, 1), random_ids(17, kVocabulary, 2)};
  const std::vector<std::vector<int32_t>> completions = {random_ids(2, kVocabulary, 3), random_ids(9, kVocabulary, 4)};
  std::vector<RolloutGroup> groups;
  for (const auto& prompt : prompts) groups.push_back({prompt, {completions[0], completions[1]}});
  std::vector<float> expected;
  for (const int threads : {1, 3}) {
    Bench bench(threads, level(), dtype());
    const Model base = model(bench);
    Adapter adapter = bench.random_adapter(base);
    PolicyPass pass(*bench.context, "policy", base, adapter.max_padded_rank, PolicyPass::Keep::kAllLayers);
    for (const size_t at_once : {2, 1}) {
      std::vector<float> gradients(static_cast<size_t>(adapter.parameters.size()), 0.0f);
      for (size_t first = 0; first < groups.size(); first += at_once) {
        const size_t count = pass.forward(&adapter, std::span(groups).subspan(first, at_once), 1.0).logprobs.size();
        const std::vector<float> none(count, 0.0f);
        std::vector<float> coefficients;  // by the entry's number in the step, 11 to a group
        for (size_t i = 0; i < count; ++i)
          coefficients.push_back(0.1f * static_cast<float>((first * 11 + i) % 7) - 0.3f);
        pass.backward(trainable_of(adapter), coefficients, none, gradients.data());
      }
      if (expected.empty()) expected = gradients;
      EXPECT_EQ(gradients, expected) << threads << " threads, " << at_once << " groups at once";
    }
  }
  EXPECT_NE(*std::max_element(expected.begin(), expected.end()), 0.0f);
}

}  // namespace
}  // namespace candor::engine
