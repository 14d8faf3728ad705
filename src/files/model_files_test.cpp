#include "files/model_files.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "files/json_file.h"
#include "files/safetensors.h"
#include "files/weight_names.h"
#include "support/llama2c.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using candor::testing::ScratchFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<float> all_rows(const WeightReader& weights, const WeightInfo& info) {
  const int64_t row = info.shape.size() == 2 ? info.shape[1] : 1;
  std::vector<float> values(static_cast<size_t>(info.shape[0] * row));
  // In two uneven parts: rows are read from anywhere.
  const int64_t cut = info.shape[0] / 3;
  auto first = weights.read_rows(info.name, 0, cut, values.data());
  auto second = weights.read_rows(info.name, cut, info.shape[0], values.data() + cut * row);
  EXPECT_TRUE(first && second);
  return values;
}

TEST(ModelFiles, OpensEveryLlamaDirectoryInBothDialects) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  for (const char* name : {"llama", "llama_legacy", "llama_sharded", "llama3_rope", "llama_bf16", "llama_fp16",
                           "llama_bias", "llama_linear_rope", "llama_tied", "llama_yarn"}) {
    SCOPED_TRACE(name);
    auto model = open_model(golden(std::string("models/") + name));
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->format, "safetensors");
    EXPECT_EQ(model->config.vocab_size, 163);
    EXPECT_THAT(model->config.eos_ids, ElementsAre(2));
    EXPECT_EQ(model->config.bos_id, 1);
    for (const WeightInfo& info : model->weights->weights()) all_rows(*model->weights, info);
  }
}

TEST(ModelFiles, ASequenceClassifierHasAScoreInTheHeadsPlace) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward/config.json"));
  auto model = open_model(golden("models/llama_reward"));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->config.labels, 1);
  EXPECT_EQ(model->weights->find("lm_head.weight"), nullptr);
  const WeightInfo* score = model->weights->find("score.weight");
  ASSERT_NE(score, nullptr);
  EXPECT_EQ(score->shape, (std::vector<int64_t>{1, 32}));

  const ScratchFolder folder;  // a language model that says it is one
  fs::copy(golden("models/llama"), folder / "model", fs::copy_options::recursive);
  Json config = *read_json_file(folder / "model/config.json");
  config["architectures"] = {"LlamaForSequenceClassification"};
  std::ofstream(folder / "model/config.json") << config;
  const auto headless = open_model(folder / "model");
  ASSERT_FALSE(headless);
  EXPECT_THAT(headless.error().message,
              HasSubstr("lacks 1 of the 21 weights that config.json asks for, first \"score."));
}

// llama, its legacy twin, its shards and its GGUF file hold the same weights, in llama.cpp's row order in the last.
TEST(ModelFiles, TheSameWeightsFromEveryLayout) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_f32.gguf"));
  auto reference = open_model(golden("models/llama"));
  ASSERT_TRUE(reference) << reference.error().message;
  for (const char* other : {"models/llama_legacy", "models/llama_sharded", "gguf/llama_f32.gguf"}) {
    SCOPED_TRACE(other);
    auto model = open_model(golden(other));
    ASSERT_TRUE(model) << model.error().message;
    ASSERT_EQ(model->weights->weights().size(), 21u);
    for (const WeightInfo& info : reference->weights->weights()) {
      const WeightInfo* same = model->weights->find(info.name);
      ASSERT_NE(same, nullptr) << info.name;
      EXPECT_EQ(same->shape, info.shape);
      EXPECT_EQ(all_rows(*model->weights, *same), all_rows(*reference->weights, info)) << info.name;
    }
    const ModelConfig &a = model->config, &b = reference->config;
    EXPECT_EQ(std::tie(a.hidden_size, a.intermediate_size, a.layers, a.heads, a.kv_heads, a.head_dim, a.max_positions),
              std::tie(b.hidden_size, b.intermediate_size, b.layers, b.heads, b.kv_heads, b.head_dim, b.max_positions));
    EXPECT_EQ(static_cast<float>(a.norm_eps), static_cast<float>(b.norm_eps));
    EXPECT_EQ(a.rope.theta, b.rope.theta);
    EXPECT_EQ(a.tied_head, b.tied_head);
    EXPECT_EQ(a.eos_ids, b.eos_ids);
  }
}

TEST(ModelFiles, DequantizesAndUnpermutesQ8) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  auto model = open_model(golden("gguf/llama_q8_0.gguf"));
  ASSERT_TRUE(model) << model.error().message;
  auto oracle = SafetensorsFile::open(golden("gguf/llama_q8_0.golden.safetensors"));
  ASSERT_TRUE(oracle);
  const char* name = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(model->weights->find(name)->type, "Q8_0");
  EXPECT_EQ(all_rows(*model->weights, *model->weights->find(name)),
            *oracle->floats(std::string("dequantized.") + name));
}

TEST(ModelFiles, OpensTheDefaultModel) {
  const char* home = std::getenv("HOME");
  const fs::path path = fs::path(home ? home : "/") / ".cache/candor/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  CANDOR_REQUIRE_FILE(path);
  auto model = open_model(path);
  ASSERT_TRUE(model) << model.error().message;
  const ModelConfig& config = model->config;
  EXPECT_EQ(config.layers, 30);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.heads, 9);
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.max_positions, 8192);
  EXPECT_EQ(config.rope.theta, 100000.0);
  EXPECT_TRUE(config.tied_head);
  EXPECT_EQ(config.pad_id, 2);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
  EXPECT_EQ(model->weights->weights().size(), 272u);
  EXPECT_EQ(model->weights->find("model.embed_tokens.weight")->type, "Q8_0");
  EXPECT_EQ(model->weights->find("model.layers.29.mlp.down_proj.weight")->type, "Q4_1");
  for (const char* name : {"model.layers.29.self_attn.k_proj.weight", "model.norm.weight"}) {
    all_rows(*model->weights, *model->weights->find(name));
  }
}

// golden/models/llama with one thing changed.
class ChangedModel {
 public:
  explicit ChangedModel(const char* from = "models/llama") {
    for (const char* name : {"config.json", "model.safetensors", "generation_config.json"}) {
      folder_.write(name, candor::testing::read_text(golden(std::string(from) + "/" + name)));
    }
  }
  std::string refusal() const {
    auto model = open_model(folder_.path());
    return model ? "" : model.error().message;
  }
  // The tensors of the file, changed and written back.
  void change(const std::function<void(std::vector<FloatTensor>&)>& edit) const {
    std::vector<FloatTensor> tensors;
    auto file = SafetensorsFile::open(folder_ / "model.safetensors");
    for (const TensorInfo& tensor : file->tensors())
      tensors.push_back({tensor.name, tensor.shape, *file->floats(tensor.name)});
    edit(tensors);
    folder_.write("model.safetensors", encode_safetensors(tensors));
  }
  const ScratchFolder& folder() const { return folder_; }

 private:
  ScratchFolder folder_;
};

TEST(ModelFiles, AWeightThatIsNotFiniteNamesItsRow) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ChangedModel changed;
  changed.change([](std::vector<FloatTensor>& tensors) {
    for (FloatTensor& tensor : tensors) {
      if (tensor.name == "model.layers.1.mlp.up_proj.weight") tensor.values[7 * 32 + 5] = std::nanf("");
      if (tensor.name == "model.norm.weight") tensor.values[31] = std::numeric_limits<float>::infinity();
    }
  });
  auto model = open_model(changed.folder().path());
  ASSERT_TRUE(model) << model.error().message;
  std::vector<float> out(64 * 32);
  EXPECT_TRUE(model->weights->read_rows("model.layers.1.mlp.up_proj.weight", 0, 7, out.data()));
  EXPECT_EQ(
      model->weights->read_rows("model.layers.1.mlp.up_proj.weight", 3, 20, out.data()).error().message,
      fmt::format("[{}] weight \"model.layers.1.mlp.up_proj.weight\" holds nan in row 7: the file is damaged or the "
                  "model's training diverged.",
                  (changed.folder() / "model.safetensors").string()));
  EXPECT_THAT(model->weights->read_rows("model.norm.weight", 0, 32, out.data()).error().message,
              HasSubstr("\"model.norm.weight\" holds inf in row 31"));
}

TEST(ModelFiles, AWeightThatTheConfigDoesNotKnowIsRefused) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ChangedModel changed;
  changed.change([](auto& tensors) {
    tensors.push_back({"model.layers.0.self_attn.q_proj.bias", {32}, std::vector<float>(32)});
  });
  EXPECT_THAT(changed.refusal(),
              HasSubstr("holds the weight \"model.layers.0.self_attn.q_proj.bias\", which a llama model"));
  changed.change([](auto& tensors) { tensors.erase(tensors.begin(), tensors.begin() + 5); });
  EXPECT_THAT(changed.refusal(), HasSubstr("lacks 5 of the 21 weights that config.json asks for, first"));
}

TEST(ModelFiles, GenerationConfigAddsEndTokens) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ChangedModel changed;
  changed.folder().write("generation_config.json", R"({"eos_token_id": [2, 7, 9]})");
  EXPECT_THAT(open_model(changed.folder().path())->config.eos_ids, ElementsAre(2, 7, 9));
  changed.folder().write("generation_config.json", R"({"eos_token_id": 163})");
  EXPECT_THAT(changed.refusal(), HasSubstr("generation_config.json] eos_token_id holds 163"));
}

TEST(Llama2c, ReadsTheSmallTrainedModel) {
  const fs::path path = candor::testing::shared_dir() / "data/stories260K/checkpoint_legacy.bin";
  CANDOR_REQUIRE_FILE(path);
  auto model = candor::testing::open_llama2c(path);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->config.layers, 5);
  EXPECT_EQ(model->config.hidden_size, 64);
  EXPECT_EQ(model->config.vocab_size, 512);
  const std::vector<ExpectedWeight> expected = expected_weights(model->config);
  EXPECT_EQ(model->weights->weights().size(), expected.size());
  for (const ExpectedWeight& weight : expected) {
    const WeightInfo* info = model->weights->find(weight.name);
    ASSERT_NE(info, nullptr) << weight.name;
    EXPECT_EQ(info->shape, weight.shape);
    EXPECT_EQ(first_non_finite(all_rows(*model->weights, *info).data(), info->shape[0]), -1);
  }
}

TEST(ModelText, TheDefaultModelSpeaks) {
  auto path = resolve_model("smollm2");
  if (!path) GTEST_SKIP() << path.error().message;
  auto model = open_model(*path);
  ASSERT_TRUE(model) << model.error().message;
  ASSERT_TRUE(model->tokenizer && model->chat_template) << model->no_tokenizer << model->no_chat_template;
  EXPECT_EQ(model->tokenizer->size(), 49152);
  EXPECT_EQ(model->special_tokens["eos_token"], "<|im_end|>");
  text::RenderOptions options;
  options.add_generation_prompt = true;
  auto rendered = model->chat_template->render(Json::parse(R"([{"role": "user", "content": "Hi"}])"), options);
  ASSERT_TRUE(rendered) << rendered.error().message;
  EXPECT_THAT(rendered->text, ::testing::EndsWith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
}

TEST(ModelText, ADirectorysTemplateAndTokens) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ChangedModel changed;
  auto bare = open_model(changed.folder().path());
  ASSERT_TRUE(bare) << bare.error().message;
  EXPECT_EQ(bare->no_tokenizer, fmt::format("[{}] has no tokenizer.json.", changed.folder().path().string()));
  EXPECT_EQ(bare->no_chat_template, fmt::format("[{}] has no chat template.", changed.folder().path().string()));
  changed.folder().write("tokenizer.json", "{");
  changed.folder().write("special_tokens_map.json", R"({"bos_token": "no", "pad_token": "<pad>"})");
  changed.folder().write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>",
      "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ messages[0].content }}!"}]})");
  auto render = [&] {
    auto model = open_model(changed.folder().path());
    EXPECT_THAT(model->no_tokenizer, HasSubstr("tokenizer.json"));
    EXPECT_EQ(model->special_tokens, Json::parse(R"({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"})"));
    if (!model->chat_template) return model->no_chat_template;
    return model->chat_template->render(Json::parse(R"([{"role": "user", "content": "Hi"}])"), {})->text;
  };
  EXPECT_EQ(render(), "Hi!");
  changed.folder().write("chat_template.jinja", "{{ messages[0].role }}");  // goes before tokenizer_config.json
  EXPECT_EQ(render(), "user");
  changed.folder().write("chat_template.jinja", "{% if %}");
  EXPECT_THAT(render(), HasSubstr("its chat template cannot be used: "));
}

TEST(WeightNames, RopePairsAreUndone) {
  // One head of 6 rows stored as 0, 3, 1, 4, 2, 5: row r of Hugging Face is found at its place in that list.
  std::vector<int64_t> places;
  for (int64_t row = 6; row < 12; ++row) places.push_back(rope_pair_row(row, 6));
  EXPECT_THAT(places, ElementsAre(6, 8, 10, 7, 9, 11));
}

TEST(ModelFiles, RefusesWhatIsNoModel) {
  EXPECT_EQ(open_model("/nowhere/at/all").error().message, "[/nowhere/at/all] does not exist.");
  EXPECT_EQ(open_model("/").error().message, "[/] has no config.json: it is no model directory.");
}

}  // namespace
}  // namespace candor::files
