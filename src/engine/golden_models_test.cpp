// Whole models against Transformers in float64 (shared/golden/models, shared/golden/gguf): every number that the
// forward has, the greedy continuation, and the gradient of every linear layer, at every kernel level.
#include <gtest/gtest.h>

#include "engine/sampler.h"
#include "engine/testing.h"
#include "support/golden_model.h"
#include "support/scratch.h"

namespace candor::engine {
namespace {

using candor::testing::expect_within;
using candor::testing::golden;
using candor::testing::golden_tolerance;
using candor::testing::json_of;
using candor::testing::read_golden_batch;
using candor::testing::RowsForward;
using candor::testing::value_of;
using candor::testing::worst_difference;
using files::SafetensorsFile;
using nlohmann::json;
using testing::Bench;

// A model on disk, the numbers it must give, and where their recorded float32 differences are.
struct Source {
  const char* model;
  const char* config;             // replaces config.json; "" = as it is
  const char* numbers = nullptr;  // folder below models/; null = the model's own
};

const Source kSources[] = {
    {"models/llama", "", "llama"},
    {"models/llama", "config.legacy.json", "llama"},
    {"models/llama_legacy", "", "llama"},
    {"models/llama_sharded", "", "llama"},
    {"models/qwen2", "", "qwen2"},
    {"models/llama3_rope", "", "llama3_rope"},
    {"models/llama3_rope", "config.legacy.json", "llama3_rope"},
    {"models/llama_bf16", "", "llama_bf16"},
    {"models/llama_fp16", "", "llama_fp16"},
    {"models/llama_bias", "", "llama_bias"},
    {"models/llama_bias", "config.legacy.json", "llama_bias"},
    {"models/llama_linear_rope", "", "llama_linear_rope"},
    {"models/llama_linear_rope", "config.legacy.json", "llama_linear_rope"},
    {"models/llama_tied", "", "llama_tied"},
    {"models/llama_tied", "config.legacy.json", "llama_tied"},
    {"models/llama_yarn", "", "llama_yarn"},
    {"models/llama_yarn", "config.legacy.json", "llama_yarn"},
    {"models/gpt2", "", "gpt2"},
    {"models/gpt2", "config.legacy.json", "gpt2"},
    {"models/gpt2_legacy", "", "gpt2"},
    {"gguf/llama_f32.gguf", "", "llama"},
    {"gguf/llama_q8_0.gguf", ""},
};

struct Numbers {
  SafetensorsFile tensors;
  json recorded;
};

Numbers numbers_of(const Source& source) {
  if (source.numbers == nullptr)
    return {value_of(SafetensorsFile::open(golden("gguf/llama_q8_0.golden.safetensors"))),
            json_of(golden("gguf/models.json")).at("llama_q8_0.gguf")};
  const std::string folder = std::string("models/") + source.numbers;
  return {value_of(SafetensorsFile::open(golden(folder + "/golden.safetensors"))),
          json_of(golden(folder + "/golden.json"))};
}

// Opens the source; another config goes into a copy of its folder.
files::ModelFiles open_source(const Source& source, const candor::testing::ScratchFolder& scratch) {
  std::filesystem::path path = golden(source.model);
  if (*source.config != '\0') {
    std::filesystem::copy(path, scratch / "model", std::filesystem::copy_options::recursive);
    std::filesystem::copy_file(path / source.config, scratch / "model/config.json",
                               std::filesystem::copy_options::overwrite_existing);
    path = scratch / "model";
  }
  return value_of(files::open_model(path));
}

class GoldenModels : public ::testing::TestWithParam<std::tuple<Source, const char*>> {};

TEST_P(GoldenModels, Forward) {
  const auto& [source, level] = GetParam();
  CANDOR_REQUIRE_FILE(golden(source.model));
  const candor::testing::ScratchFolder scratch;
  const Numbers numbers = numbers_of(source);
  const json& recorded = numbers.recorded.at("float32_vs_float64");
  const auto batch = read_golden_batch(numbers.tensors);
  Bench bench(2, level);
  const Model model = bench.load(open_source(source, scratch));
  RowsForward forward(*bench.context, model, nullptr, batch.rows, Activations::Keep::kAllLayers);
  auto check = [&](const std::string& tensor, const std::string& quantity, const std::vector<float>& ours) {
    const auto columns = ours.size() / static_cast<size_t>(forward.tokens());
    const auto expected = batch.ragged(value_of(numbers.tensors.floats(tensor)), columns);
    expect_within(tensor, worst_difference(ours, expected), golden_tolerance(recorded.at(quantity)));
  };
  const bool has_hidden = numbers.tensors.find("hidden.0") != nullptr;
  EXPECT_EQ(has_hidden, std::string(source.model).find("16") == std::string::npos && source.numbers != nullptr);
  for (int64_t l = 0; has_hidden && l <= model.config.layers; ++l)
    check(fmt::format("hidden.{}", l), "hidden", forward.hidden(l));
  check("logits", "logits", forward.logits(0, forward.tokens()));
  const HeadOutput next = forward.next();
  const auto logprobs = forward.shifted(next.logprobs);
  check("logprobs", "logprobs", logprobs);
  check("entropy", "entropy", forward.shifted(next.entropy));
  expect_within("loss", std::abs(batch.loss(logprobs) - numbers.recorded.at("loss").get<double>()),
                golden_tolerance(recorded.at("loss")));
}

TEST_P(GoldenModels, GreedyContinuation) {
  const auto& [source, level] = GetParam();
  CANDOR_REQUIRE_FILE(golden(source.model));
  const candor::testing::ScratchFolder scratch;
  const Numbers numbers = numbers_of(source);
  if (numbers.tensors.find("greedy_ids") == nullptr) GTEST_SKIP() << "the oracle has no continuation of this model";
  const auto expected = value_of(numbers.tensors.integers("greedy_ids"));
  const auto batch = read_golden_batch(numbers.tensors);
  Bench bench(2, level);
  const Model model = bench.load(open_source(source, scratch));
  SamplingOptions options;
  options.temperature = 0;
  options.max_new_tokens = static_cast<int64_t>(expected.size());
  const std::vector<SampleRequest> requests = {{{batch.rows[0].begin(), batch.rows[0].begin() + 8}, 2}};
  const auto sampled = sample(*bench.context, model, nullptr, requests, options, nullptr, {});
  for (const Completion& completion : sampled[0])
    EXPECT_EQ(std::vector<int64_t>(completion.ids.begin(), completion.ids.end()), expected);
}

// The oracle has the gradient of every weight. With A the identity and B = 0 the adapter changes nothing, and the
// gradient of B is that of the weight itself, times alpha/r = 1.
TEST_P(GoldenModels, GradientOfEveryLinear) {
  const auto& [source, level] = GetParam();
  CANDOR_REQUIRE_FILE(golden(source.model));
  const candor::testing::ScratchFolder scratch;
  const Numbers numbers = numbers_of(source);
  if (!numbers.recorded.contains("gradient_float32_vs_float64")) GTEST_SKIP() << "the oracle has no gradients here";
  const json& recorded = numbers.recorded.at("gradient_float32_vs_float64").at("per_tensor_diff_and_max");
  Bench bench(2, level);
  const Model model = bench.load(open_source(source, scratch));
  files::LoraConfig config;
  config.r = std::max(model.config.intermediate_size, model.config.heads * model.config.head_dim);
  config.alpha = static_cast<double>(config.r);
  config.target_modules = {"all-linear"};
  Adapter adapter = value_of(make_adapter(*bench.context, model, config, 0));
  for (const LoraPair& pair : adapter.pairs) {
    ASSERT_LE(pair.in, pair.rank);
    std::fill_n(adapter.parameters.data() + pair.a_offset, pair.a_size(), 0.0f);
    for (int64_t k = 0; k < pair.in; ++k) adapter.parameters[pair.a_offset + k * padded(pair.in) + k] = 1.0f;
  }
  pack_adapter(*bench.context, adapter);
  const auto gradients =
      candor::testing::loss_gradients(*bench.context, model, trainable_of(adapter), read_golden_batch(numbers.tensors));
  size_t checked = 0;
  for (const LoraPair& pair : adapter.pairs) {
    const std::string name = pair.module + ".weight";
    const auto db = candor::testing::lora_tensors(pair)[1].of(gradients.data());
    std::vector<float> dw;
    for (int64_t row = 0; row < pair.out; ++row)
      dw.insert(dw.end(), db.begin() + row * pair.rank, db.begin() + row * pair.rank + pair.in);
    const auto expected = value_of(numbers.tensors.floats("grad." + name));
    if (model.config.transposed) dw = candor::testing::transposed(dw, pair.out, pair.in);
    expect_within(name, worst_difference(dw, expected), golden_tolerance(recorded.at(name)[0], recorded.at(name)[1]));
    ++checked;
  }
  EXPECT_EQ(checked, linears_of(model.config).size() * static_cast<size_t>(model.config.layers));
}

// The worst share of its tolerance that any weight's gradient uses; NaN counts as infinite.
double worst_gradient_share(const Trainable& trainable, const std::vector<float>& gradients, const Numbers& numbers,
                            const std::string& only = "") {
  const json& recorded = numbers.recorded.at("gradient_float32_vs_float64").at("per_tensor_diff_and_max");
  const std::vector<files::ExpectedWeight> expected = files::expected_weights(trainable.model->config);
  double worst = 0;
  size_t checked = 0;
  for (const ParameterTensor& tensor : trainable.tensors) {
    if (!only.empty() && tensor.name != only) continue;
    const files::TensorInfo* info = numbers.tensors.find("grad." + tensor.name);
    EXPECT_NE(info, nullptr) << tensor.name;
    if (info == nullptr) return INFINITY;
    const float* from = gradients.data() + tensor.offset;
    const bool as_columns = std::any_of(expected.begin(), expected.end(), [&](const files::ExpectedWeight& weight) {
      return weight.name == tensor.name && weight.transposed;
    });
    const auto& shape = info->shape;
    const auto ours = shape.size() == 1 ? std::vector<float>(from, from + shape[0])
                      : as_columns ? candor::testing::transposed(candor::testing::unpacked(from, shape[1], shape[0]),
                                                                 shape[1], shape[0])
                                   : candor::testing::unpacked(from, shape[0], shape[1]);
    const double difference = worst_difference(ours, value_of(numbers.tensors.floats(info->name)));
    worst = std::max(worst, difference / golden_tolerance(recorded.at(tensor.name)[0], recorded.at(tensor.name)[1]));
    ++checked;
  }
  EXPECT_EQ(checked, only.empty() ? recorded.size() : 1);
  return worst;
}

// Full fine-tuning: every parameter of the file, and nothing in the padding.
TEST_P(GoldenModels, GradientOfEveryParameter) {
  const auto& [source, level] = GetParam();
  CANDOR_REQUIRE_FILE(golden(source.model));
  const candor::testing::ScratchFolder scratch;
  const Numbers numbers = numbers_of(source);
  if (!numbers.recorded.contains("gradient_float32_vs_float64")) GTEST_SKIP() << "the oracle has no gradients here";
  Bench bench(2, level);
  Model model = bench.load(open_source(source, scratch));
  const Trainable trainable = trainable_of(model);
  const auto gradients =
      candor::testing::loss_gradients(*bench.context, model, trainable, read_golden_batch(numbers.tensors));
  EXPECT_LE(worst_gradient_share(trainable, gradients, numbers), 1);
  int64_t outside = 0;
  for (const ParameterTensor& tensor : trainable.tensors)
    for (int64_t i = 0; i < tensor.size; ++i) outside += tensor.values[i] == 0 && gradients[tensor.offset + i] != 0;
  EXPECT_EQ(outside, 0) << "gradients in the padding";
}

// The twin: a tied embedding that loses one of its two gradients.
TEST(GoldenModelsTwins, ATiedEmbeddingNeedsBothGradients) {
  CANDOR_REQUIRE_FILE(golden("models"));
  const candor::testing::ScratchFolder scratch;
  const Source source{"models/llama_tied", "", "llama_tied"};
  const Numbers numbers = numbers_of(source);
  const auto batch = read_golden_batch(numbers.tensors);
  Bench bench;
  Model model = bench.load(open_source(source, scratch));
  const Trainable right = trainable_of(model);
  Trainable no_embedding = right, no_head = right;
  no_embedding.weights.embedding = -1;
  no_head.weights.head = -1;
  const std::string name = "model.embed_tokens.weight";
  auto share = [&](const Trainable& trainable) {
    const candor::testing::WholeRows whole(batch);
    PolicyPass pass(*bench.context, "test", model, 0, PolicyPass::Keep::kAllLayers);
    pass.forward(nullptr, whole.groups, 1.0);
    std::vector<float> gradients(static_cast<size_t>(right.gradient_floats), 0.0f);
    pass.backward(trainable, whole.dlogprob, std::vector<float>(whole.dlogprob.size(), 0.0f), gradients.data());
    add_tied_gradients(*bench.context, right, gradients.data());
    return worst_gradient_share(right, gradients, numbers, name);
  };
  EXPECT_LE(share(right), 1);
  EXPECT_GT(share(no_embedding), 1000);
  EXPECT_GT(share(no_head), 1000);
}

std::string test_name(const ::testing::TestParamInfo<GoldenModels::ParamType>& info) {
  const auto& [source, level] = info.param;
  std::string name =
      std::string(source.model) + (*source.config == '\0' ? "" : "_v4config") + (*level == '\0' ? "_best" : "_plain");
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModels,
                         ::testing::Combine(::testing::ValuesIn(kSources), ::testing::Values("plain", "")), test_name);

// The twins: a config key that is read wrongly moves the logits as far as the oracle says, so the tests above see it.
TEST(GoldenModelsTwins, AMisreadConfigMovesTheLogitsAsRecorded) {
  CANDOR_REQUIRE_FILE(golden("models"));
  const std::map<std::string, std::function<void(files::ModelConfig&)>> misread = {
      {"rms_norm_eps=0.1", [](files::ModelConfig& c) { c.norm_eps = 0.1; }},
      {"rope_theta=1e6", [](files::ModelConfig& c) { c.rope.theta = 1e6; }},
      {"rope default", [](files::ModelConfig& c) { c.rope.type = files::RopeType::kDefault; }},
      {"attention_factor=1", [](files::ModelConfig& c) { c.rope.attention_factor = 1; }},
  };
  const candor::testing::ScratchFolder scratch;
  int twins = 0;
  for (const char* name : {"llama", "llama3_rope", "llama_linear_rope", "llama_yarn"}) {
    const std::string folder = std::string("models/") + name;
    const Source source{folder.c_str(), "", name};
    const Numbers numbers = numbers_of(source);
    const auto batch = read_golden_batch(numbers.tensors);
    const double tolerance = golden_tolerance(numbers.recorded.at("float32_vs_float64").at("logits"));
    for (const auto& [what, change] : numbers.recorded.at("max_abs_logit_change_if_misread").items()) {
      Bench bench;
      files::ModelFiles files = open_source(source, scratch);
      misread.at(what)(files.config);
      const Model model = bench.load(files);
      RowsForward forward(*bench.context, model, nullptr, batch.rows, Activations::Keep::kOneLayer);
      const auto expected = batch.ragged(value_of(numbers.tensors.floats("logits")), 163);
      const double moved = worst_difference(forward.logits(0, forward.tokens()), expected);
      EXPECT_GT(moved, 1000 * tolerance) << name << ": " << what;
      EXPECT_NEAR(moved, change.get<double>(), 2 * tolerance) << name << ": " << what;  // both runs have rounding
      ++twins;
    }
  }
  EXPECT_EQ(twins, 6);
}

}  // namespace
}  // namespace candor::engine
