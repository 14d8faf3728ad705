#include "files/peft_adapter.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "files/base_fingerprint.h"
#include "files/safetensors.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using candor::testing::read_text;
using candor::testing::ScratchFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Every linear layer of golden/models/llama, the head included.
std::vector<std::string> llama_modules() {
  std::vector<std::string> modules;
  for (const char* layer : {"0", "1"}) {
    for (const char* name : {"mlp.down_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.k_proj", "self_attn.o_proj",
                             "self_attn.q_proj", "self_attn.v_proj"}) {
      modules.push_back(fmt::format("model.layers.{}.{}", layer, name));
    }
  }
  modules.push_back("lm_head");
  return modules;
}

TEST(PeftAdapter, ReadsConfigAndTensorsAndTargetsTheSameModules) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_config.json"));
  const std::pair<const char*, size_t> cases[] = {{"lora", 14},       {"lora_rs", 14},    {"lora_regex", 3},
                                                  {"lora_layers", 3}, {"qwen2_lora", 14}, {"pissa_converted", 14},
                                                  {"dora", 14},       {"pissa", 14}};
  for (const auto& [name, pairs] : cases) {
    SCOPED_TRACE(name);
    const auto folder = golden(std::string("adapters/") + name);
    auto adapter = read_peft_adapter(folder);
    ASSERT_TRUE(adapter) << adapter.error().message;
    EXPECT_EQ(adapter->config.r, std::string(name) == "pissa_converted" ? 8 : 4);
    EXPECT_EQ(adapter->config.alpha, std::string(name) == "pissa_converted" ? 16 : 8);
    EXPECT_EQ(adapter->config.use_rslora, std::string(name) == "lora_rs");
    EXPECT_EQ(adapter->pairs.size(), pairs);
    // Which modules PEFT adapted is what the file holds: target_matches must say the same of every module.
    std::vector<std::string> saved, matched;
    for (const LoraTensors& pair : adapter->pairs) saved.push_back(pair.module);
    for (const std::string& module : llama_modules()) {
      if (*target_matches(adapter->config, module)) matched.push_back(module);
    }
    if (std::string(name) != "qwen2_lora") {
      EXPECT_EQ(matched, saved);
    }
    auto file = SafetensorsFile::open(folder / "adapter_model.safetensors");
    for (const LoraTensors& pair : adapter->pairs) {
      const std::string key = "base_model.model." + pair.module;
      EXPECT_EQ(pair.a, *file->floats(key + ".lora_A.weight"));
      EXPECT_EQ(pair.b, *file->floats(key + ".lora_B.weight"));
      EXPECT_EQ(file->find(key + ".lora_B.weight")->shape, (std::vector<int64_t>{pair.out, pair.rank}));
    }
  }
}

TEST(PeftAdapter, WritesWhatPeftWrites) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_config.json"));
  const ScratchFolder folder;
  for (const char* name : {"lora", "lora_rs", "lora_regex", "lora_layers", "lora_save_head", "dora", "lora_patterns"}) {
    SCOPED_TRACE(name);
    const auto original = golden(std::string("adapters/") + name);
    auto adapter = read_peft_adapter(original);
    ASSERT_TRUE(adapter) << adapter.error().message;
    ASSERT_TRUE(write_peft_adapter(folder / name, *adapter));
    EXPECT_EQ(read_text(folder / name / "adapter_model.safetensors"),
              read_text(original / "adapter_model.safetensors"));
    const auto ours = nlohmann::json::parse(read_text(folder / name / "adapter_config.json"));
    const auto theirs = nlohmann::json::parse(read_text(original / "adapter_config.json"));
    for (const auto& [key, value] : ours.items()) EXPECT_EQ(value, theirs[key]) << key;
    EXPECT_GE(ours.size(), 24u);
    EXPECT_TRUE(read_peft_adapter(folder / name));
  }
}

TEST(PeftAdapter, ReadsModulesToSave) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora_save_head/adapter_config.json"));
  const auto folder = golden("adapters/lora_save_head");
  auto adapter = read_peft_adapter(folder);
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_THAT(adapter->config.modules_to_save, ElementsAre("lm_head"));
  ASSERT_EQ(adapter->saved_weights.size(), 1u);
  EXPECT_EQ(adapter->saved_weights[0].name, "lm_head.weight");
  EXPECT_EQ(adapter->saved_weights[0].shape, (std::vector<int64_t>{163, 32}));
  auto file = SafetensorsFile::open(folder / "adapter_model.safetensors");
  EXPECT_EQ(adapter->saved_weights[0].values, *file->floats("base_model.model.lm_head.weight"));
}

TEST(PeftAdapter, ModulesToSaveAndTheTensorsMustAgree) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora_save_head/adapter_config.json"));
  const ScratchFolder folder;
  auto original = read_peft_adapter(golden("adapters/lora_save_head"));
  ASSERT_TRUE(original) << original.error().message;
  auto refusal = [&](const auto& change) -> std::string {
    PeftAdapter changed = *original;
    change(changed);
    EXPECT_TRUE(write_peft_adapter(folder / "adapter", changed));
    auto adapter = read_peft_adapter(folder / "adapter");
    return adapter ? "" : adapter.error().message;
  };
  EXPECT_EQ(refusal([](PeftAdapter&) {}), "");
  EXPECT_THAT(refusal([](PeftAdapter& a) { a.config.modules_to_save.push_back("norm"); }),
              HasSubstr("holds no weights of \"norm\", which modules_to_save"));
  EXPECT_THAT(refusal([](PeftAdapter& a) { a.config.modules_to_save = {"head"}; }),  // a suffix, but not of whole names
              HasSubstr("\"base_model.model.lm_head.weight\" is no LoRA matrix"));
  EXPECT_THAT(refusal([](PeftAdapter& a) { a.saved_weights[0].values[35] = NAN; }),
              HasSubstr("\"base_model.model.lm_head.weight\" holds nan in row 1."));
}

// A classifier's adapter names "classifier" and "score" (twice), of which the file holds one.
TEST(PeftAdapter, ReadsAndWritesAScoreHead) {
  CANDOR_REQUIRE_FILE(golden("trajectories/adapters/reward/adapter_config.json"));
  const ScratchFolder folder;
  const auto original = golden("trajectories/adapters/reward");
  auto adapter = read_peft_adapter(original);
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_THAT(adapter->config.modules_to_save, ElementsAre("score"));
  ASSERT_EQ(adapter->saved_weights.size(), 1u);
  EXPECT_EQ(adapter->saved_weights[0].name, "score.weight");
  ASSERT_TRUE(write_peft_adapter(folder / "reward", *adapter));
  const auto ours = nlohmann::json::parse(read_text(folder / "reward/adapter_config.json"));
  EXPECT_EQ(ours["task_type"], "SEQ_CLS");  // otherwise PEFT looks for a language head
  auto ours_again = SafetensorsFile::open(folder / "reward/adapter_model.safetensors");
  auto theirs = SafetensorsFile::open(original / "adapter_model.safetensors");
  ASSERT_TRUE(ours_again && theirs);
  ASSERT_EQ(ours_again->tensors().size(), theirs->tensors().size());
  for (const TensorInfo& tensor : theirs->tensors())
    EXPECT_EQ(*ours_again->floats(tensor.name), *theirs->floats(tensor.name)) << tensor.name;
  adapter->saved_weights.clear();
  adapter->config.modules_to_save = {"classifier", "score"};
  ASSERT_TRUE(write_peft_adapter(folder / "headless", *adapter));
  const auto headless = read_peft_adapter(folder / "headless");
  ASSERT_FALSE(headless);
  EXPECT_THAT(headless.error().message, HasSubstr("holds no weights of \"classifier\", which modules_to_save"));
}

// The mark of the base travels in the metadata, where PEFT does not look.
TEST(PeftAdapter, TheBasesFingerprintTravelsInTheFile) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_config.json"));
  const ScratchFolder folder;
  auto adapter = read_peft_adapter(golden("adapters/lora"));
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_EQ(adapter->config.base_fingerprint, "");
  adapter->config.base_fingerprint = "abc";
  ASSERT_TRUE(write_peft_adapter(folder / "marked", *adapter));
  auto marked = read_peft_adapter(folder / "marked");
  ASSERT_TRUE(marked) << marked.error().message;
  EXPECT_EQ(marked->config.base_fingerprint, "abc");
  EXPECT_EQ(read_text(folder / "marked/adapter_config.json").find("abc"), std::string::npos);
}

// Equal for every layout of the same weights; other where a weight of the sample differs.
TEST(BaseFingerprint, IsOfTheWeightsAndNotOfTheFile) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_f32.gguf"));
  auto of = [](const char* name) {
    auto model = open_model(golden(name));
    EXPECT_TRUE(model) << model.error().message;
    auto fingerprint = base_fingerprint(*model);
    EXPECT_TRUE(fingerprint) << fingerprint.error().message;
    return *fingerprint;
  };
  const std::string llama = of("models/llama");
  EXPECT_EQ(llama.size(), 64u);
  for (const char* same : {"models/llama_legacy", "models/llama_sharded", "gguf/llama_f32.gguf"})
    EXPECT_EQ(of(same), llama) << same;
  for (const char* other : {"models/llama_bf16", "models/llama_tied", "gguf/llama_q8_0.gguf"})
    EXPECT_NE(of(other), llama) << other;
}

TEST(PeftAdapter, AllLinearIsWrittenAsNames) {
  PeftAdapter adapter;
  adapter.config.r = 1;
  adapter.config.target_modules = {"all-linear"};
  for (const char* module : {"model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj"}) {
    adapter.pairs.push_back({module, 1, 2, 2, {1, 2}, {3, 4}});
  }
  const auto config = nlohmann::json::parse(encode_peft_adapter(adapter).adapter_config_json);
  EXPECT_EQ(config["target_modules"], (nlohmann::json{"q_proj", "up_proj"}));
  EXPECT_EQ(config["lora_alpha"].dump(), "8");
}

// Conv1D: A and B lie as those of other layers, and what the config says of it goes into the file again.
TEST(PeftAdapter, FanInFanOutIsKept) {
  CANDOR_REQUIRE_FILE(golden("adapters/gpt2_lora/adapter_config.json"));
  for (const char* name : {"gpt2_lora", "gpt2_dora", "lora"}) {
    auto adapter = read_peft_adapter(golden(std::string("adapters/") + name));
    ASSERT_TRUE(adapter) << adapter.error().message;
    EXPECT_EQ(adapter->config.fan_in_fan_out, std::string(name) != "lora");
    const auto config = nlohmann::json::parse(encode_peft_adapter(*adapter).adapter_config_json);
    EXPECT_EQ(config["fan_in_fan_out"], adapter->config.fan_in_fan_out);
  }
}

TEST(PeftAdapter, UnknownKeysCountOnlyWhenTheyAreSet) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_config.json"));
  const ScratchFolder folder;
  std::filesystem::copy(golden("adapters/lora/adapter_model.safetensors"), folder / "adapter_model.safetensors");
  auto json = nlohmann::json::parse(read_text(golden("adapters/lora/adapter_config.json")));
  auto message = [&](const char* key, const nlohmann::json& value) -> std::string {
    auto changed = json;
    changed[key] = value;
    folder.write("adapter_config.json", changed.dump());
    auto adapter = read_peft_adapter(folder.path());
    return adapter ? "" : adapter.error().message;
  };
  for (const nlohmann::json& nothing : {nlohmann::json(), nlohmann::json(false), nlohmann::json(""),
                                        nlohmann::json::array(), nlohmann::json::object()}) {
    EXPECT_EQ(message("of_the_future", nothing), "");
  }
  EXPECT_THAT(message("of_the_future", 1), HasSubstr("\"of_the_future\" is 1 and not known"));
  EXPECT_THAT(message("of_the_future", 0), HasSubstr("not known"));
  EXPECT_THAT(message("use_qalora", true), HasSubstr("not supported yet"));
  EXPECT_THAT(message("bias", "all"), HasSubstr("bias is \"all\""));
  EXPECT_THAT(message("peft_type", "IA3"), HasSubstr("peft_type is \"IA3\""));
  EXPECT_THAT(message("r", 5), HasSubstr("rank 5 of adapter_config.json"));
  EXPECT_THAT(message("r", 0), HasSubstr("r is 0; a rank of at least 1 is expected."));
  EXPECT_THAT(message("lora_alpha", "8"), HasSubstr("lora_alpha is \"8\""));
  EXPECT_THAT(message("lora_dropout", 1.5), HasSubstr("lora_dropout is 1.5"));
  EXPECT_THAT(message("target_modules", 3), HasSubstr("target_modules is 3"));
  EXPECT_THAT(message("target_modules", {"q_proj"}),
              HasSubstr("which target_modules of adapter_config.json does not name"));
  EXPECT_THAT(message("modules_to_save", "lm_head"), HasSubstr("modules_to_save is \"lm_head\""));
  EXPECT_THAT(message("modules_to_save", {3}), HasSubstr("modules_to_save is [3]; a list of names is expected."));
  EXPECT_THAT(message("layers_to_transform", "1"), HasSubstr("layers_to_transform is \"1\""));
  EXPECT_EQ(message("target_modules", "ALL-LINEAR"), "");
  EXPECT_EQ(message("init_lora_weights", "gaussian"), "");
  EXPECT_THAT(message("init_lora_weights", "olora"), HasSubstr("belongs to changed base weights"));
  EXPECT_THAT(message("use_dora", true),
              HasSubstr("has no lora_magnitude_vector, and use_dora of adapter_config.json"));
  EXPECT_THAT(message("use_dora", 1), HasSubstr("use_dora is 1; true or false is expected."));
  EXPECT_THAT(message("rank_pattern", {{"q_proj", 5}}), HasSubstr("\"model.layers.0.self_attn.q_proj\" has A [4, 32]"));
  EXPECT_THAT(message("rank_pattern", {{"q_proj", 0}}), HasSubstr("regular expressions with ranks are expected."));
  EXPECT_THAT(message("rank_pattern", {{"(", 4}}), HasSubstr("\"(?:.*\\.)?(?:()\" is no regular expression"));
  EXPECT_THAT(message("alpha_pattern", {3}), HasSubstr("regular expressions with numbers are expected."));
}

// From the first match in the file's order, rank and alpha each on its own; and back.
TEST(PairSettings, FollowPeftsPatterns) {
  LoraConfig config;
  config.r = 4;
  config.alpha = 8;
  config.rank_pattern = {{"z_proj", 2}, {"^model.layers.0.self_attn.o_proj", 3}, {"layers\\.1\\..*", 6}, {"o_proj", 5}};
  config.alpha_pattern = {{"o_proj", 12}};
  auto rank = [&](const char* module) { return pair_settings(config, module)->rank; };
  EXPECT_EQ(rank("model.layers.0.self_attn.o_proj"), 3);
  EXPECT_EQ(rank("model.layers.1.self_attn.o_proj"), 6);
  EXPECT_EQ(rank("model.layers.2.self_attn.o_proj"), 5);
  EXPECT_EQ(rank("model.layers.2.self_attn.no_proj"), 4);  // a suffix, but not of whole names
  EXPECT_EQ(rank("z_proj"), 2);
  EXPECT_EQ(pair_settings(config, "model.layers.0.self_attn.o_proj")->scale, 4);
  EXPECT_EQ(pair_settings(config, "z_proj")->scale, 4);
  config.use_rslora = true;
  EXPECT_EQ(pair_settings(config, "model.layers.2.self_attn.q_proj")->scale, 4);
  PeftAdapter adapter;
  adapter.config = config;
  adapter.config.target_modules = {"z_proj"};
  adapter.pairs = {{"a.z_proj", 2, 1, 1, {1, 2}, {3, 4}}};
  const ScratchFolder folder;
  ASSERT_TRUE(write_peft_adapter(folder / "adapter", adapter));
  const auto again = read_peft_adapter(folder / "adapter");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->config.rank_pattern, config.rank_pattern);
  EXPECT_EQ(again->config.alpha_pattern, config.alpha_pattern);
}

TEST(TargetMatches, FollowsPeftsRules) {
  LoraConfig config;
  config.target_modules = {"q_proj", "model.layers.0.mlp.up_proj", "lm_head"};
  EXPECT_TRUE(*target_matches(config, "model.layers.3.self_attn.q_proj"));
  EXPECT_FALSE(*target_matches(config, "model.layers.3.self_attn.seq_proj"));  // a suffix, but not of whole names
  EXPECT_TRUE(*target_matches(config, "lm_head"));
  config.layers_to_transform = {1};
  EXPECT_TRUE(*target_matches(config, "model.layers.1.self_attn.q_proj"));
  EXPECT_FALSE(*target_matches(config, "model.layers.11.self_attn.q_proj"));
  EXPECT_TRUE(*target_matches(config, "model.layers.0.mlp.up_proj"));  // named in full: the layers do not count
  EXPECT_TRUE(*target_matches(config, "model.layers.1.mlp.experts.0.q_proj"));
  EXPECT_FALSE(*target_matches(config, "layers.1.q_proj"));  // PEFT wants something before "layers."

  config.layers_pattern = {"h", "experts"};  // none of them stands before the first number
  EXPECT_FALSE(*target_matches(config, "model.layers.1.self_attn.q_proj"));
  EXPECT_TRUE(*target_matches(config, "model.layers.0.mlp.experts.1.q_proj"));
  config.layers_pattern = {"layers"};
  EXPECT_TRUE(*target_matches(config, "layers.1.q_proj"));
  config.modules_to_save = {"q_proj"};
  EXPECT_FALSE(*target_matches(config, "layers.1.q_proj"));  // trained whole, not adapted

  config = {};
  config.target_regex = ".*\\.(q|v)_proj";
  EXPECT_TRUE(*target_matches(config, "model.layers.3.self_attn.v_proj"));
  EXPECT_FALSE(*target_matches(config, "model.layers.3.self_attn.v_proj2"));
  EXPECT_FALSE(*target_matches(config, "q_proj"));
  config.target_regex = "a|ab";  // fullmatch goes back for the longer branch
  EXPECT_TRUE(*target_matches(config, "ab"));
  config.target_regex = "(";
  EXPECT_THAT(target_matches(config, "ab").error().message, HasSubstr("\"(\" is no regular expression"));
  config.target_regex = "(a|aa)+[bc]";
  EXPECT_THAT(target_matches(config, std::string(60, 'a')).error().message, HasSubstr("takes too long"));

  config = {};
  config.target_modules = {"all-linear"};
  EXPECT_TRUE(*target_matches(config, "model.layers.3.mlp.up_proj"));
  EXPECT_FALSE(*target_matches(config, "lm_head"));
  config.layers_to_transform = {1};
  EXPECT_FALSE(target_matches(config, "model.layers.1.mlp.up_proj"));
}

}  // namespace
}  // namespace candor::files
