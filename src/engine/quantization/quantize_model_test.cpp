// Whole models written in few bits and read again.
#include "engine/quantization/quantize_model.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <set>

#include "base/half.h"
#include "engine/sequence_pass.h"
#include "engine/testing.h"
#include "support/full_disk.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::engine {
namespace {

using candor::testing::FullDisk;
using candor::testing::ScratchFolder;
using testing::Bench;
using ::testing::HasSubstr;
using testing::random_ids;
using testing::random_model_files;

files::ModelConfig config() {
  files::ModelConfig c = testing::tiny_config();
  c.hidden_size = 64;
  c.intermediate_size = 96;
  c.heads = 4;
  c.head_dim = 16;
  return c;
}

// Few different tokens, so that the inputs of the layers hang together.
std::vector<std::vector<int32_t>> texts(uint32_t first) {
  std::vector<std::vector<int32_t>> ids;
  for (uint32_t row = first; row < first + 8; ++row) ids.push_back(random_ids(60, 40, row));
  return ids;
}

QuantizeOptions options(const char* type, QuantizeMethod method) {
  QuantizeOptions o;
  o.type = *find_weight_type(type);
  o.embedding_type = *find_weight_type("q8_0");
  o.method = method;
  if (method == QuantizeMethod::kGptq) o.calibration = texts(0);
  return o;
}

std::vector<float> values_of(const files::WeightReader& weights, const std::string& name) {
  const files::WeightInfo* info = weights.find(name);
  std::vector<float> values(static_cast<size_t>(info->shape[0] * (info->shape.size() == 2 ? info->shape[1] : 1)));
  EXPECT_TRUE(weights.read_rows(name, 0, info->shape[0], values.data()));
  return values;
}

std::vector<float> last_hidden(Bench& bench, const files::ModelFiles& files) {
  const Model model = bench.load(files);
  SequencePass pass(*bench.context, "test", model, Activations::Keep::kOneLayer);
  const auto ids = texts(100);
  const float* hidden = pass.forward(ids).hidden();
  return std::vector<float>(hidden, hidden + static_cast<int64_t>(8 * 60) * padded(files.config.hidden_size));
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return sum;
}

TEST(QuantizeModel, EveryMethodWritesAModelAndTheCalibratedOneStaysCloser) {
  const ScratchFolder folder;
  Bench bench;
  const files::ModelFiles source = random_model_files(config(), 1);
  const std::vector<float> expected = last_hidden(bench, source);
  std::map<QuantizeMethod, double> off;
  for (const QuantizeMethod method : {QuantizeMethod::kRoundToNearest, QuantizeMethod::kGptq}) {
    const auto path = folder / fmt::format("{}.gguf", static_cast<int>(method));
    const auto report = quantize_model(*bench.context, source, options("q4_0", method), path);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->file_bytes, std::filesystem::file_size(path));
    const auto back = files::open_model(path);
    ASSERT_TRUE(back) << back.error().message;
    for (const QuantizedWeight& weight : report->weights) {
      EXPECT_EQ(back->weights->find(weight.name)->type, weight.type.name);
      EXPECT_FALSE(weight.fell_back);
      EXPECT_LT(weight.relative_error, weight.type.name == "Q4_0" ? 0.25 : 0.01) << weight.name;
    }
    off[method] = distance(last_hidden(bench, *back), expected);
  }
  EXPECT_LT(off[QuantizeMethod::kGptq], 0.7 * off[QuantizeMethod::kRoundToNearest]);
}

TEST(QuantizeModel, RoundToNearestIsTheBlocksOfTheEncoder) {
  const ScratchFolder folder;
  Bench bench;
  const files::ModelFiles source = random_model_files(config(), 2);
  for (const char* type : {"q8_0", "q4_0", "q4_1", "bf16", "f16", "f32"}) {
    SCOPED_TRACE(type);
    const auto path = folder / fmt::format("{}.gguf", type);
    ASSERT_TRUE(quantize_model(*bench.context, source, options(type, QuantizeMethod::kRoundToNearest), path));
    const auto back = files::open_model(path);
    ASSERT_TRUE(back);
    const files::GgufBlockType& stored = *find_weight_type(type)->stored;
    for (const char* name : {"model.layers.1.self_attn.q_proj.weight", "model.layers.2.mlp.down_proj.weight"}) {
      const std::vector<float> w = values_of(*source.weights, name);
      std::vector<uint8_t> raw(w.size() / static_cast<size_t>(stored.values) * static_cast<size_t>(stored.bytes));
      ASSERT_EQ(files::encode_blocks(stored, w, raw.data()), -1);
      std::vector<float> rounded(w.size());
      stored.dequantize(raw.data(), static_cast<int64_t>(w.size()) / stored.values, rounded.data());
      EXPECT_EQ(values_of(*back->weights, name), rounded) << name;
    }
    EXPECT_EQ(values_of(*back->weights, "model.norm.weight"), values_of(*source.weights, "model.norm.weight"));
  }
}

TEST(QuantizeModel, SimulatedBitsHaveFewValuesPerGroup) {
  const ScratchFolder folder;
  Bench bench;
  const files::ModelFiles source = random_model_files(config(), 2);
  for (const auto& [type, most] : {std::pair("int3", 8u), {"int2", 4u}})
    for (const QuantizeMethod method : {QuantizeMethod::kRoundToNearest, QuantizeMethod::kGptq}) {
      const auto path = folder / fmt::format("{}{}.gguf", type, static_cast<int>(method));
      ASSERT_TRUE(quantize_model(*bench.context, source, options(type, method), path));
      const std::vector<float> w = values_of(*files::open_model(path)->weights, "model.layers.1.mlp.up_proj.weight");
      for (size_t at = 0; at < w.size(); at += kGroup)
        EXPECT_LE(std::set(w.begin() + static_cast<int64_t>(at), w.begin() + static_cast<int64_t>(at) + kGroup).size(),
                  most);
    }
}

TEST(QuantizeModel, ThreadsChangeNoByte) {
  const ScratchFolder folder;
  const files::ModelFiles source = random_model_files(config(), 3);
  std::vector<std::string> bytes;
  for (const int threads : {1, 3}) {
    Bench bench(threads);
    const auto path = folder / fmt::format("{}.gguf", threads);
    ASSERT_TRUE(quantize_model(*bench.context, source, options("q4_1", QuantizeMethod::kGptq), path));
    bytes.push_back(candor::testing::read_text(path));
  }
  EXPECT_TRUE(bytes[0] == bytes[1]);
}

// Rows of 40 are no whole groups of 32: those matrices become F16, the others (72 is none either, 12·6) too.
TEST(QuantizeModel, RowsThatAreNoWholeGroupsBecomeF16) {
  const ScratchFolder folder;
  Bench bench;
  files::ModelConfig c = testing::tiny_config();
  c.intermediate_size = 64;  // down_proj has whole groups
  const files::ModelFiles source = random_model_files(c, 4);
  for (const QuantizeMethod method : {QuantizeMethod::kRoundToNearest, QuantizeMethod::kGptq}) {
    const auto path = folder / fmt::format("{}.gguf", static_cast<int>(method));
    const auto report = quantize_model(*bench.context, source, options("q4_0", method), path);
    ASSERT_TRUE(report) << report.error().message;
    const auto back = files::open_model(path);
    for (const QuantizedWeight& weight : report->weights) {
      const bool down = weight.name.ends_with("down_proj.weight");
      const bool vector = back->weights->find(weight.name)->shape.size() == 1;
      EXPECT_EQ(weight.fell_back, !down && !vector) << weight.name;
      EXPECT_EQ(weight.type.name, vector ? "F32" : down ? "Q4_0" : "F16") << weight.name;
    }
    std::vector<float> w = values_of(*source.weights, "model.layers.0.self_attn.k_proj.weight");
    for (float& value : w) value = half_to_float(float_to_half(value));
    EXPECT_EQ(values_of(*back->weights, "model.layers.0.self_attn.k_proj.weight"), w);
  }
}

// A weight with one value that is not what it should be.
class Spoilt : public files::WeightReader {
 public:
  Spoilt(const files::WeightReader& weights, std::string name, float value)
      : weights_(weights), name_(std::move(name)), value_(value) {}
  const std::vector<files::WeightInfo>& weights() const override { return weights_.weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    TRY(weights_.read_rows(name, begin, end, out));
    if (name == name_ && begin <= 3 && 3 < end) out[(3 - begin) * find(name)->shape[1] + 5] = value_;
    return {};
  }

 private:
  const files::WeightReader& weights_;
  std::string name_;
  float value_;
};

TEST(QuantizeModel, RefusesAndLeavesNothing) {
  const ScratchFolder folder;
  Bench bench;
  const files::ModelFiles good = random_model_files(config(), 5);
  auto refusal = [&](const char* type, QuantizeMethod method, float value, const char* name) {
    files::ModelFiles bad = random_model_files(config(), 5);
    bad.weights = std::make_unique<Spoilt>(*good.weights, name, value);
    const auto report = quantize_model(*bench.context, bad, options(type, method), folder / "out.gguf");
    return report ? std::string() : report.error().message;
  };
  const char* up = "model.layers.1.mlp.up_proj.weight";
  EXPECT_THAT(refusal("q4_0", QuantizeMethod::kRoundToNearest, NAN, up),
              HasSubstr("[quantize] weight \"model.layers.1.mlp.up_proj.weight\" is nan in row 3:"));
  for (const QuantizeMethod method : {QuantizeMethod::kRoundToNearest, QuantizeMethod::kGptq})
    EXPECT_THAT(refusal("q4_1", method, 3e7f, up),
                HasSubstr("up_proj.weight\" holds 30000000 in row 3, which Q4_1 cannot "
                          "hold. Choose bf16 or f32."));
  EXPECT_THAT(refusal("f16", QuantizeMethod::kRoundToNearest, 70000, up), HasSubstr("holds 70000 in row 3, which F16"));
  EXPECT_THAT(refusal("q4_1", QuantizeMethod::kGptq, INFINITY, "model.embed_tokens.weight"),
              HasSubstr("is inf in row 3"));
  {
    const FullDisk full(20'000);
    const auto report =
        quantize_model(*bench.context, good, options("q4_0", QuantizeMethod::kRoundToNearest), folder / "out.gguf");
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().message, HasSubstr("cannot write: File too large, after 20000 bytes."));
  }
  QuantizeOptions stopped = options("q4_0", QuantizeMethod::kGptq);
  int asked = 0;
  stopped.interrupted = [&] { return ++asked > 9; };
  EXPECT_FALSE(quantize_model(*bench.context, good, stopped, folder / "out.gguf"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace candor::engine
