// A model written as a GGUF file is read again and must be the source's: weights bit for bit, config, text.
#include "files/gguf_model_writer.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "files/gguf_block_encoders.h"
#include "support/oracle.h"
#include "support/scratch.h"
#include "support/source_dir.h"

namespace candor::files {
namespace {

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

// Every tensor in float32. Empty: written.
std::string written(const ModelFiles& source, const fs::path& path) {
  const GgufBlockType& type = *find_encoder("F32");
  std::vector<GgufTensorSource> tensors = rope_tensors(source.config);
  for (const ExpectedWeight& weight : expected_weights(source.config)) {
    const int64_t row = weight.shape.size() == 2 ? weight.shape[1] : 1;
    tensors.push_back(
        gguf_tensor(weight, type, source.config.head_dim,
                    [&source, name = weight.name, row](int64_t begin, int64_t end) -> Result<std::string> {
                      std::string bytes(static_cast<size_t>((end - begin) * row) * 4, '\0');
                      TRY(source.weights->read_rows(name, begin, end, reinterpret_cast<float*>(bytes.data())));
                      return bytes;
                    }));
  }
  const auto entries = gguf_metadata(source, "F32");
  if (!entries) return entries.error().message;
  const auto done = write_file_atomically(path, [&](OutputFile& out) { return write_gguf(*entries, tensors, out); });
  return done ? "" : done.error().message;
}

void expect_same_weights(const ModelFiles& ours, const ModelFiles& theirs) {
  ASSERT_EQ(ours.weights->weights().size(), theirs.weights->weights().size());
  for (const WeightInfo& info : theirs.weights->weights()) {
    const std::vector<float> a = values_of(*ours.weights, info.name), b = values_of(*theirs.weights, info.name);
    ASSERT_EQ(a.size(), b.size()) << info.name;
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << info.name;
  }
}

TEST(GgufModelWriter, EveryDirectoryComesBackBitForBit) {
  CANDOR_REQUIRE_FILE(golden("models/llama/config.json"));
  const ScratchFolder folder;
  for (const char* name : {"llama", "llama_tied", "llama_bias", "llama_bf16", "llama_fp16", "llama_sharded",
                           "llama_linear_rope", "llama_yarn", "llama3_rope", "qwen2", "gpt2", "gpt2_legacy"}) {
    SCOPED_TRACE(name);
    const ModelFiles source = opened(golden(std::string("models/") + name));
    const fs::path path = folder / (std::string(name) + ".gguf");
    ASSERT_EQ(written(source, path), "");
    const ModelFiles back = opened(path);
    expect_same_weights(back, source);
    const ModelConfig &ours = back.config, &theirs = source.config;
    EXPECT_EQ(ours.hidden_size, theirs.hidden_size);
    EXPECT_EQ(ours.head_dim, theirs.head_dim);
    EXPECT_EQ(ours.kv_heads, theirs.kv_heads);
    EXPECT_EQ(ours.max_positions, theirs.max_positions);
    EXPECT_EQ(ours.tied_head, theirs.tied_head);
    EXPECT_EQ(ours.attention_bias, theirs.attention_bias);
    EXPECT_EQ(ours.output_bias, theirs.output_bias);
    EXPECT_EQ(ours.mlp_bias, theirs.mlp_bias);
    EXPECT_EQ(ours.family, theirs.family);
    EXPECT_EQ(ours.eos_ids, theirs.eos_ids);
    EXPECT_EQ(ours.bos_id, theirs.bos_id);
    EXPECT_EQ(static_cast<float>(ours.norm_eps), static_cast<float>(theirs.norm_eps));
    EXPECT_EQ(ours.rope.theta, theirs.rope.theta);
    if (theirs.rope.type != RopeType::kLlama3) {  // which becomes divisors
      EXPECT_EQ(ours.rope.type, theirs.rope.type);
      EXPECT_EQ(ours.rope.factor, theirs.rope.factor);
    } else {
      ASSERT_EQ(ours.rope.frequency_divisors.size(), 6u);
      EXPECT_EQ(ours.rope.frequency_divisors[0], 1.0f);
      EXPECT_EQ(ours.rope.frequency_divisors[5], static_cast<float>(theirs.rope.factor));
    }
  }
}

// llama_f32.gguf is golden/models/llama as gguf-py wrote it.
TEST(GgufModelWriter, TheTensorsAreGgufPys) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_f32.gguf"));
  const ScratchFolder folder;
  ASSERT_EQ(written(opened(golden("models/llama")), folder / "ours.gguf"), "");
  const auto ours = GgufFile::open(folder / "ours.gguf"), theirs = GgufFile::open(golden("gguf/llama_f32.gguf"));
  ASSERT_EQ(ours->tensors().size(), theirs->tensors().size());
  for (const GgufTensor& expected : theirs->tensors()) {
    const GgufTensor* tensor = ours->find_tensor(expected.name);
    ASSERT_NE(tensor, nullptr) << expected.name;
    EXPECT_EQ(tensor->shape, expected.shape);
    std::string a(tensor->bytes, '\0'), b(expected.bytes, '\0');
    ASSERT_TRUE(ours->file().read(tensor->offset, a.data(), a.size()));
    ASSERT_TRUE(theirs->file().read(expected.offset, b.data(), b.size()));
    EXPECT_TRUE(a == b) << expected.name;
  }
  // And what the two say about the model, with its type in the file: llama.cpp looks at that too.
  const auto entries = *ours->entries(), expected = *theirs->entries();
  int compared = 0;
  for (const GgufEntry& entry : entries) {
    const auto same = std::find_if(expected.begin(), expected.end(), [&](const auto& e) { return e.key == entry.key; });
    if (same == expected.end() || entry.key == "general.name") continue;
    EXPECT_EQ(entry.type, same->type) << entry.key;
    EXPECT_EQ(entry.bytes, same->bytes) << entry.key;
    ++compared;
  }
  EXPECT_EQ(compared, 17);
}

TEST(GgufModelWriter, AGgufSourceKeepsItsMetadata) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  const ScratchFolder folder;
  const ModelFiles source = opened(golden("gguf/llama_q8_0.gguf"));
  ASSERT_EQ(written(source, folder / "out.gguf"), "");
  expect_same_weights(opened(folder / "out.gguf"), source);
  const auto before = *GgufFile::open(golden("gguf/llama_q8_0.gguf"))->entries(),
             after = *GgufFile::open(folder / "out.gguf")->entries();
  for (const GgufEntry& entry : before) {
    const auto found = std::find_if(after.begin(), after.end(), [&](const auto& e) { return e.key == entry.key; });
    if (entry.key == "general.alignment") {
      EXPECT_EQ(found, after.end());  // it was 64; the writer's is 32
      continue;
    }
    ASSERT_NE(found, after.end()) << entry.key;
    EXPECT_EQ(found->type, entry.type) << entry.key;
    if (entry.key != "general.file_type") {
      EXPECT_EQ(found->bytes, entry.bytes) << entry.key;
    }
  }
  EXPECT_EQ(*GgufFile::open(folder / "out.gguf")->integer("general.file_type"), 0);
}

TEST(GgufModelWriter, TextOfATokenizerJsonComesBack) {
  const ScratchFolder folder;
  const ModelFiles source = opened(candor::testing::source_dir() / "models/tiny");
  ASSERT_EQ(written(source, folder / "tiny.gguf"), "");
  const ModelFiles back = opened(folder / "tiny.gguf");
  ASSERT_TRUE(back.tokenizer) << back.no_tokenizer;
  ASSERT_TRUE(back.chat_template) << back.no_chat_template;
  EXPECT_EQ(back.config.eos_ids.front(), *source.tokenizer->token_to_id("<|endoftext|>"));
  EXPECT_EQ(back.special_tokens["eos_token"], source.special_tokens["eos_token"]);
  for (const char* text :
       {"What is 3 + 4?", "<|im_start|>user\nMira lives in Oslo.<|im_end|>\n", "ünïcode 12345  \n\n x"})
    for (const bool special : {false, true})
      EXPECT_EQ(*back.tokenizer->encode(text, {.add_special_tokens = special}),
                *source.tokenizer->encode(text, {.add_special_tokens = special}))
          << text;
  const auto messages = text::Json::parse(R"([{"role": "user", "content": "hi"}])");
  EXPECT_EQ(back.chat_template->render(messages, {})->text, source.chat_template->render(messages, {})->text);
}

TEST(GgufModelWriter, RefusesATokenizerThatGgufCannotSay) {
  const fs::path tiny = candor::testing::source_dir() / "models/tiny";
  const std::string json = read_text(tiny / "tokenizer.json");
  auto refusal = [&](const std::string& from, const std::string& to) {
    const ScratchFolder folder;
    fs::copy(tiny, folder / "model");
    std::string changed = json;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed.replace(at, from.size(), to);
    folder.write("model/tokenizer.json", changed);
    return written(opened(folder / "model"), folder / "out.gguf");
  };
  EXPECT_THAT(refusal(R"("individual_digits":true)", R"("individual_digits":false)"),
              HasSubstr("the pre-tokenizer {\"individual_digits\":false,\"type\":\"Digits\"} has no name in GGUF."));
  EXPECT_THAT(refusal(R"("add_prefix_space":false)", R"("add_prefix_space":true)"), HasSubstr("has no name in GGUF."));
  EXPECT_THAT(refusal(R"("normalizer":null)", R"("normalizer":{"type":"Lowercase"})"),
              HasSubstr("its normalizer has no name in GGUF."));
  EXPECT_THAT(refusal(R"("normalizer":null)", R"("normalizer":{"type":"NFC"})"),
              HasSubstr("its pre-tokenizer has no name in GGUF; those of gpt-2, smollm,"));
  EXPECT_THAT(refusal(R"("lstrip":false)", R"("lstrip":true)"),
              HasSubstr("the added token \"<|endoftext|>\" has \"lstrip\", which a GGUF file cannot say."));
  EXPECT_THAT(refusal(R"("ignore_merges":false)", R"("ignore_merges":true)"), HasSubstr("has no name in GGUF"));
  EXPECT_THAT(refusal(R"("byte_fallback":false)", R"("byte_fallback":true)"), HasSubstr("byte_fallback"));
  const ScratchFolder folder;
  fs::copy(tiny, folder / "model");
  fs::remove(folder / "model/tokenizer.json");
  folder.write("model/tokenizer.model", "");
  EXPECT_THAT(written(opened(folder / "model"), folder / "out.gguf"),
              HasSubstr("tokenizer.model and vocab.json are not supported yet."));
  EXPECT_FALSE(fs::exists(folder / "out.gguf"));
}

TEST(GgufModelWriter, RefusesASequenceClassifier) {
  CANDOR_REQUIRE_FILE(golden("models/llama_reward/config.json"));
  const auto entries = gguf_metadata(opened(golden("models/llama_reward")), "F32");
  ASSERT_FALSE(entries);
  EXPECT_THAT(entries.error().message,
              HasSubstr("is a sequence classifier: a GGUF file has no place for its score.weight."));
}

TEST(GgufModelWriter, RowsGoBothWays) {
  for (const int64_t head_dim : {2, 8, 64})
    for (int64_t row = 0; row < 3 * head_dim; ++row) {
      EXPECT_EQ(rope_pair_row(rope_half_row(row, head_dim), head_dim), row);
      EXPECT_EQ(rope_half_row(rope_pair_row(row, head_dim), head_dim), row);
    }
}

}  // namespace
}  // namespace candor::files
