// A written model directory is read again and must be the source's: weights bit by bit, config, text.
#include "files/model_writer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "files/hf_config.h"
#include "files/safetensors.h"
#include "files/weight_names.h"
#include "support/full_disk.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::FullDisk;
using candor::testing::golden;
using candor::testing::read_text;
using candor::testing::ScratchFolder;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

ModelFiles opened(const fs::path& path) {
  auto model = open_model(path);
  EXPECT_TRUE(model) << model.error().message;
  return std::move(*model);
}

std::vector<float> values_of(const WeightReader& weights, const std::string& name) {
  const WeightInfo* info = weights.find(name);
  std::vector<float> values(static_cast<size_t>(info->shape[0] * (info->shape.size() == 2 ? info->shape[1] : 1)));
  EXPECT_TRUE(weights.read_rows(name, 0, info->shape[0], values.data()));
  return values;
}

// Empty: written.
std::string refusal(const fs::path& path, const ModelFiles& source, const std::vector<TensorSource>& weights,
                    const ModelWriteOptions& options = {}) {
  const auto written = write_model_directory(path, source, weights, options);
  return written ? "" : written.error().message;
}

int entries(const fs::path& path) {
  return static_cast<int>(std::distance(fs::directory_iterator(path), {}));
}

TEST(ModelWriter, AnUnchangedModelIsTheSameFilesAgain) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ScratchFolder folder;
  for (const char* name : {"llama", "llama_tied", "llama_bias", "gpt2"}) {
    SCOPED_TRACE(name);
    const fs::path original = golden(std::string("models/") + name);
    const ModelFiles source = opened(original);
    EXPECT_EQ(refusal(folder / name, source, weight_sources(*source.weights)), "");
    for (const char* file : {"model.safetensors", "config.json", "generation_config.json"})
      EXPECT_TRUE(read_text(folder / name / file) == read_text(original / file)) << file;
    EXPECT_EQ(entries(folder / name), 3);
  }
}

// llama_f32.gguf holds golden/models/llama.
TEST(ModelWriter, AGgufFileBecomesTheDirectoryItWasMadeOf) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_f32.gguf"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("gguf/llama_f32.gguf")), original = opened(golden("models/llama"));
  ASSERT_EQ(refusal(folder / "out", source, weight_sources(*source.weights)), "");
  const ModelFiles written = opened(folder / "out");
  EXPECT_EQ(read_text(folder / "out/model.safetensors"), read_text(golden("models/llama/model.safetensors")));
  const auto ours = nlohmann::json::parse(read_text(folder / "out/config.json"));
  const auto theirs = nlohmann::json::parse(read_text(golden("models/llama/config.json")));
  for (const auto& [key, value] : theirs.items()) {
    // Not among llama.cpp's facts, or without effect on the model; dtype and rope stand in the older dialect.
    static constexpr std::string_view kOther[] = {"attention_dropout",    "initializer_range", "pretraining_tp",
                                                  "transformers_version", "use_cache",         "dtype",
                                                  "rope_parameters",      "pad_token_id"};
    if (std::find(std::begin(kOther), std::end(kOther), key) != std::end(kOther)) continue;
    ASSERT_TRUE(ours.contains(key)) << key;
    if (key == "rms_norm_eps")
      EXPECT_EQ(ours[key].get<float>(), value.get<float>());  // GGUF keeps it in float32
    else
      EXPECT_EQ(ours[key], value) << key;
  }
  EXPECT_EQ(written.config.rope.theta, original.config.rope.theta);
  EXPECT_EQ(written.config.eos_ids, original.config.eos_ids);
  EXPECT_EQ(written.config.bos_id, original.config.bos_id);
}

TEST(ModelWriter, EveryRopeTypeOfAConfigSurvives) {
  CANDOR_REQUIRE_FILE(golden("models/llama_yarn/config.json"));
  const ScratchFolder folder;
  for (const char* name : {"llama_yarn", "llama3_rope", "llama_linear_rope"}) {
    SCOPED_TRACE(name);
    ModelFiles source = opened(golden(std::string("models/") + name));
    source.format = "gguf";  // so that config.json is made from what was read
    const auto text = config_json_text(source, source.config, FloatType::kBFloat16);
    ASSERT_TRUE(text) << text.error().message;
    const auto config = config_from_json(*parse_json(*text, name), name);
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_EQ(config->rope.type, source.config.rope.type);
    EXPECT_EQ(config->rope.factor, source.config.rope.factor);
    EXPECT_EQ(config->rope.original_max_positions, source.config.rope.original_max_positions);
    EXPECT_EQ(config->rope.low_freq_factor, source.config.rope.low_freq_factor);
    EXPECT_EQ(config->rope.high_freq_factor, source.config.rope.high_freq_factor);
    EXPECT_EQ(config->rope.beta_fast, source.config.rope.beta_fast);
    EXPECT_EQ(config->rope.beta_slow, source.config.rope.beta_slow);
    EXPECT_EQ(config->rope.attention_factor, source.config.rope.attention_factor);
    EXPECT_EQ(config->rope.truncate, source.config.rope.truncate);
    EXPECT_THAT(*text, HasSubstr("\"torch_dtype\": \"bfloat16\""));
  }
}

// Llama 3.1's divisors as llama.cpp stores them: factor 8, low 1, high 4, 8192 positions; theta 500000, head width 128.
TEST(ModelWriter, RopeDivisorsBecomeLlama3Parameters) {
  ModelFiles source;
  source.path = "m.gguf";
  source.format = "gguf";
  source.config.head_dim = 128;
  source.config.rope.theta = 500000;
  for (int i = 0; i < 64; ++i) {
    const double wavelength = 2 * M_PI * std::pow(500000.0, i / 64.0);
    const double smooth = (8192 / wavelength - 1) / 3;
    const double divisor = wavelength < 2048 ? 1 : wavelength > 8192 ? 8 : 1 / ((1 - smooth) / 8 + smooth);
    source.config.rope.frequency_divisors.push_back(static_cast<float>(divisor));
  }
  const auto text = config_json_text(source, source.config, FloatType::kFloat32);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(nlohmann::json::parse(*text)["rope_scaling"],
            nlohmann::json::parse(R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192})"));
  source.config.rope.frequency_divisors[30] *= 1.001f;
  EXPECT_THAT(config_json_text(source, source.config, FloatType::kFloat32).error().message,
              HasSubstr("[m.gguf] rope_freqs.weight does not follow Llama 3's rule"));
}

TEST(ModelWriter, SixteenBitsAreTheNearestAndTheConfigSaysSo) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("models/llama"));
  for (const auto& [type, name] : {std::pair(FloatType::kBFloat16, "bfloat16"), {FloatType::kFloat16, "float16"}}) {
    SCOPED_TRACE(name);
    ASSERT_EQ(refusal(folder / name, source, weight_sources(*source.weights), {.type = type}), "");
    const ModelFiles written = opened(folder / name);
    EXPECT_EQ(nlohmann::json::parse(read_text(folder / name / "config.json"))["dtype"], name);
    for (const WeightInfo& info : written.weights->weights()) {
      EXPECT_EQ(info.type, type == FloatType::kFloat16 ? "F16" : "BF16");
      std::vector<float> expected = values_of(*source.weights, info.name);
      for (float& value : expected)
        value = type == FloatType::kFloat16 ? half_to_float(float_to_half(value))
                                            : bfloat16_to_float(float_to_bfloat16(value));
      EXPECT_EQ(values_of(*written.weights, info.name), expected) << info.name;
    }
  }
}

TEST(ModelWriter, ShardsAreFilledInOrderAndIndexed) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("models/llama"));
  ASSERT_EQ(refusal(folder / "out", source, weight_sources(*source.weights), {.max_shard_bytes = 40'000}), "");
  const auto index = nlohmann::json::parse(read_text(folder / "out/model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], index["metadata"]["total_parameters"].get<int64_t>() * 4);
  EXPECT_EQ(index["weight_map"].size(), source.weights->weights().size());
  int shards = 0;
  for (const auto& entry : fs::directory_iterator(folder / "out")) {
    if (entry.path().extension() != ".safetensors") continue;
    ++shards;
    EXPECT_LT(entry.file_size(), 42'500u) << entry.path();  // with its header
  }
  EXPECT_GE(shards, 3);
  const ModelFiles written = opened(folder / "out");
  for (const WeightInfo& info : source.weights->weights())
    EXPECT_EQ(values_of(*written.weights, info.name), values_of(*source.weights, info.name)) << info.name;
}

TEST(ModelWriter, AHeadOfItsOwnUntiesTheModel) {
  CANDOR_REQUIRE_FILE(golden("models/llama_tied/config.json"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("models/llama_tied"));
  auto weights = weight_sources(*source.weights);
  const int64_t vocabulary = source.config.vocab_size, hidden = source.config.hidden_size;
  weights.push_back(
      {"lm_head.weight", {vocabulary, hidden}, [&](int64_t begin, int64_t end, float* out) -> Result<void> {
         std::fill_n(out, (end - begin) * hidden, 0.5f);
         return {};
       }});
  ASSERT_EQ(refusal(folder / "out", source, weights), "");
  const ModelFiles written = opened(folder / "out");
  EXPECT_FALSE(written.config.tied_head);
  EXPECT_EQ(values_of(*written.weights, "lm_head.weight")[7], 0.5f);
}

TEST(ModelWriter, RefusesAndLeavesNothing) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("models/llama"));
  const auto weights = weight_sources(*source.weights);
  const fs::path out = folder / "out";
  auto with_value = [&](float value) {
    auto changed = weights;
    changed[2].read_rows = [value, shape = changed[2].shape](int64_t begin, int64_t end, float* to) -> Result<void> {
      std::fill_n(to, (end - begin) * shape[1], 0.0f);
      if (begin <= 3 && 3 < end) to[(3 - begin) * shape[1] + 1] = value;
      return {};
    };
    return changed;
  };
  ASSERT_EQ(weights[2].name, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_THAT(refusal(out, source, with_value(NAN)),
              HasSubstr("weight \"model.layers.0.self_attn.q_proj.weight\" is nan in row 3: the training diverged."));
  EXPECT_THAT(refusal(out, source, with_value(70000), {.type = FloatType::kFloat16}),
              HasSubstr("is 70000 in row 3, which float16 cannot hold. Write it in float32 or bfloat16."));
  auto missing = weights;
  missing.pop_back();
  EXPECT_THAT(refusal(out, source, missing), HasSubstr("the weight \"lm_head.weight\" is missing."));
  auto unknown = weights;
  unknown.push_back(weights[0]);
  unknown.back().name = "v_head.weight";
  EXPECT_THAT(refusal(out, source, unknown), HasSubstr("the weight \"v_head.weight\" is unknown in a llama model."));
  auto misshapen = weights;
  misshapen[2].shape = {32, 16};
  EXPECT_THAT(refusal(out, source, misshapen),
              HasSubstr("has the shape [32, 16]; the model's config asks for [32, 32]."));
  {
    const FullDisk full(50'000);
    EXPECT_THAT(refusal(out, source, weights),
                HasSubstr("/model.safetensors] cannot write: File too large, after 50000 bytes."));
  }
  EXPECT_EQ(entries(folder.path()), 0);

  folder.write("out/mine", "mine");
  EXPECT_THAT(refusal(out, source, weights), HasSubstr("is there already. Choose another folder, or remove this one."));
  EXPECT_EQ(read_text(out / "mine"), "mine");
  EXPECT_EQ(entries(folder.path()), 1);
}

}  // namespace
}  // namespace candor::files
