// Merged weights against PEFT's merge_and_unload (golden/adapters/*/golden.safetensors, merged.MODULE.weight).
#include "files/peft_merge.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "files/model_writer.h"
#include "files/safetensors.h"
#include "support/oracle.h"
#include "support/scratch.h"
#include "support/source_dir.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using candor::testing::ScratchFolder;
using ::testing::HasSubstr;

ModelFiles opened(const std::string& name) {
  auto model = open_model(golden(name));
  EXPECT_TRUE(model) << model.error().message;
  return std::move(*model);
}

// Of shared/golden, or in the checkout (tests/golden/adapters/make.py).
std::filesystem::path folder_of(const std::string& adapter) {
  if (adapter == "dora_embed") return candor::testing::source_dir() / "tests/golden/adapters" / adapter;
  return golden("adapters/" + adapter);
}

PeftAdapter adapter_of(const std::string& name) {
  auto adapter = read_peft_adapter(folder_of(name));
  EXPECT_TRUE(adapter) << adapter.error().message;
  return std::move(*adapter);
}

std::string base_of(const std::string& adapter) {
  for (const char* family : {"qwen2", "gpt2"})
    if (adapter.starts_with(family)) return std::string("models/") + family;
  return "models/llama";
}

using Weights = std::map<std::string, std::vector<float>>;

// Each weight read in two parts, as a writer may.
Weights values_of(const std::vector<TensorSource>& sources) {
  Weights values;
  for (const TensorSource& source : sources) {
    std::vector<float>& to = values[source.name];
    to.resize(static_cast<size_t>(source.elements()));
    const int64_t cut = source.shape[0] / 3;
    EXPECT_TRUE(source.read_rows(0, cut, to.data()));
    EXPECT_TRUE(source.read_rows(cut, source.shape[0], to.data() + cut * source.row_size()));
  }
  return values;
}

Weights merged_values(const ModelFiles& base, const PeftAdapter& adapter) {
  auto sources = merged_weights(base, adapter);
  EXPECT_TRUE(sources) << sources.error().message;
  return values_of(*sources);
}

double worst_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i] - b[i])));
  return worst;
}

// A linear layer as it is read: Conv1D's lie on disk the other way.
std::vector<float> as_rows(const ModelConfig& config, std::vector<float> stored, const std::vector<int64_t>& shape) {
  if (!config.transposed) return stored;
  std::vector<float> rows;
  for (int64_t column = 0; column < shape[1]; ++column)
    for (int64_t row = 0; row < shape[0]; ++row) rows.push_back(stored[static_cast<size_t>(row * shape[1] + column)]);
  return rows;
}

// PEFT multiplies and adds in float32; weights stay below 1, where its sums of 4 or 8 products are good to 1e-7.
constexpr double kTolerance = 2e-7;

class Merged : public ::testing::TestWithParam<const char*> {};

TEST_P(Merged, AgreesWithPeft) {
  const std::string name = GetParam();
  CANDOR_REQUIRE_FILE(folder_of(name) / "golden.safetensors");
  const ModelFiles base = opened(base_of(name));
  PeftAdapter adapter = adapter_of(name);
  const auto file = SafetensorsFile::open(folder_of(name) / "golden.safetensors");
  const Weights merged = merged_values(base, adapter), plain = values_of(weight_sources(*base.weights));
  int checked = 0;
  for (const TensorInfo& tensor : file->tensors()) {
    if (!tensor.name.starts_with("merged.")) continue;
    const std::string weight = tensor.name.substr(7);
    ASSERT_TRUE(merged.contains(weight)) << weight;
    const std::vector<float> expected = as_rows(base.config, *file->floats(tensor.name), tensor.shape);
    EXPECT_LE(worst_difference(merged.at(weight), expected), kTolerance) << weight;
    EXPECT_GT(worst_difference(plain.at(weight), expected), 1e-3) << "the adapter does nothing";
    ++checked;
  }
  EXPECT_EQ(checked, 1);
  for (const auto& [weight, values] : merged) {  // what the adapter does not name stays bit by bit
    bool changed = false;
    for (const LoraTensors& pair : adapter.pairs) changed = changed || weight == pair.module + ".weight";
    for (const FloatTensor& saved : adapter.saved_weights) changed = changed || weight == saved.name;
    if (!changed) {
      EXPECT_EQ(values, plain.at(weight)) << weight;
    }
  }
  for (const FloatTensor& saved : adapter.saved_weights) EXPECT_EQ(merged.at(saved.name), saved.values);
}

TEST_P(Merged, TwinWithAWrongScaleIsRejected) {
  const std::string name = GetParam();
  CANDOR_REQUIRE_FILE(folder_of(name) / "golden.safetensors");
  const ModelFiles base = opened(base_of(name));
  PeftAdapter adapter = adapter_of(name);
  adapter.config.use_rslora = !adapter.config.use_rslora;
  const auto file = SafetensorsFile::open(folder_of(name) / "golden.safetensors");
  const Weights merged = merged_values(base, adapter);
  for (const TensorInfo& tensor : file->tensors()) {
    if (!tensor.name.starts_with("merged.")) continue;
    EXPECT_GT(worst_difference(merged.at(tensor.name.substr(7)), *file->floats(tensor.name)), 1000 * kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Merged,
                         ::testing::Values("lora", "lora_rs", "lora_regex", "lora_layers", "lora_save_head",
                                           "lora_patterns", "lora_embed", "dora", "qwen2_lora", "qwen2_dora",
                                           "gpt2_lora", "gpt2_dora", "dora_embed"));

// PEFT's SVD is float32, which moves the weights by up to 4e-6 (golden/adapters/pissa/golden.json).
TEST(Merge, PissaIsMergedIntoTheBaseThatItWasMadeFrom) {
  CANDOR_REQUIRE_FILE(golden("adapters/pissa/golden.safetensors"));
  const ModelFiles base = opened("models/llama");
  PeftAdapter adapter = adapter_of("pissa");
  const std::string weight = "model.layers.0.self_attn.q_proj.weight";
  const auto file = SafetensorsFile::open(golden("adapters/pissa/golden.safetensors"));
  const std::vector<float> expected = *file->floats("merged." + weight);
  EXPECT_LE(worst_difference(merged_values(base, adapter).at(weight), expected), 1e-5);
  adapter.config.init = LoraInit::kDefault;  // the twin: read as plain LoRA
  EXPECT_GT(worst_difference(merged_values(base, adapter).at(weight), expected), 1e-2);
}

TEST(Merge, ARowOfMagnitudeZeroIsZero) {
  CANDOR_REQUIRE_FILE(golden("adapters/dora/adapter_config.json"));
  const ModelFiles base = opened("models/llama");
  PeftAdapter adapter = adapter_of("dora");
  LoraTensors& pair = adapter.pairs.front();
  pair.magnitude[0] = 0;
  const Weights merged = merged_values(base, adapter);
  for (int64_t k = 0; k < pair.in; ++k) EXPECT_EQ(merged.at(pair.module + ".weight")[static_cast<size_t>(k)], 0);
}

// With a tied head PEFT trains a copy of the one and leaves the other as it was.
TEST(Merge, ASavedModuleOfATiedModelUntiesIt) {
  CANDOR_REQUIRE_FILE(golden("models/llama_tied/config.json"));
  const ModelFiles base = opened("models/llama_tied");
  const int64_t vocabulary = base.config.vocab_size, hidden = base.config.hidden_size;
  PeftAdapter adapter;
  adapter.config.target_modules = {"nothing"};
  adapter.saved_weights = {{"model.embed_tokens.weight",
                            {vocabulary, hidden},
                            std::vector<float>(static_cast<size_t>(vocabulary * hidden), 0.25f)}};
  const Weights plain = values_of(weight_sources(*base.weights)), merged = merged_values(base, adapter);
  EXPECT_EQ(merged.at("lm_head.weight"), plain.at("model.embed_tokens.weight"));
  EXPECT_EQ(merged.at("model.embed_tokens.weight"), adapter.saved_weights[0].values);
  adapter.saved_weights[0].name = "lm_head.weight";
  const Weights other = merged_values(base, adapter);
  EXPECT_EQ(other.at("model.embed_tokens.weight"), plain.at("model.embed_tokens.weight"));
  EXPECT_EQ(other.at("lm_head.weight"), adapter.saved_weights[0].values);
}

TEST(Merge, AnAdapterOfAnotherBaseIsRefused) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_config.json"));
  const ModelFiles base = opened("models/llama");
  auto refusal = [&](const auto& change) -> std::string {
    PeftAdapter adapter = adapter_of("lora");
    change(adapter);
    const auto merged = merged_weights(base, adapter);
    return merged ? "" : merged.error().message;
  };
  const std::string end = fmt::format(": it was made for another base model than {}.", base.path.string());
  EXPECT_EQ(refusal([](PeftAdapter&) {}), "");
  EXPECT_EQ(
      refusal([](PeftAdapter& a) { a.pairs.pop_back(); }),
      "[adapter] adapter_config.json targets model.layers.1.self_attn.v_proj, and the adapter holds nothing for it" +
          end);
  EXPECT_EQ(refusal([](PeftAdapter& a) {
              a.pairs.push_back(a.pairs[0]);
              a.pairs.back().module = "model.layers.2.mlp.up_proj";
            }),
            "[adapter] the adapter changes model.layers.2.mlp.up_proj, which the base lacks" + end);
  EXPECT_EQ(
      refusal([](PeftAdapter& a) { a.pairs[0].out = 48; }),
      "[adapter] the adapter changes model.layers.0.mlp.down_proj as [48, 64], which is [32, 64] in the base" + end);
  EXPECT_EQ(refusal([](PeftAdapter& a) {
              a.saved_weights = {{"score.weight", {1, 32}, std::vector<float>(32)}};
            }),
            "[adapter] modules_to_save holds score.weight, which the base lacks" + end);
  EXPECT_EQ(refusal([](PeftAdapter& a) {
              a.saved_weights = {{"lm_head.weight", {1, 32}, std::vector<float>(32)}};
            }),
            "[adapter] modules_to_save holds lm_head.weight as [1, 32], which is [163, 32] in the base" + end);
}

}  // namespace
}  // namespace candor::files
