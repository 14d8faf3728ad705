// The rules behind tokenizer.ggml.pre: a golden tokenizer.json, written as a GGUF file would hold it, must give the
// vectors of the tokenizer.json.
#include <gtest/gtest.h>

#include "support/tokenizer_vectors.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_writer.h"

namespace candor::text {
namespace {

using nlohmann::json;

GgufVocabulary as_gguf(const json& file, const std::string& pre) {
  GgufVocabulary gguf;
  gguf.model = "gpt2";
  gguf.pre = pre;
  std::map<int32_t, std::pair<std::string, int32_t>> tokens;
  for (const auto& [token, id] : file["model"]["vocab"].items()) tokens[id] = {token, 1};
  for (const json& token : file["added_tokens"]) tokens[token["id"]] = {token["content"], token["special"] ? 3 : 4};
  for (const auto& [id, token] : tokens) {
    EXPECT_EQ(id, static_cast<int32_t>(gguf.tokens.size()));
    gguf.tokens.push_back(token.first);
    gguf.token_types.push_back(token.second);
  }
  for (const json& merge : file["model"]["merges"]) {
    gguf.merges.push_back(merge.is_string() ? merge.get<std::string>()
                                            : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return gguf;
}

struct Named {
  const char* golden;
  const char* pre;
};

// The vocabulary of a golden tokenizer, framed as its vectors say.
GgufVocabulary framed(const std::filesystem::path& folder, const std::string& pre, const json& vectors) {
  GgufVocabulary gguf = as_gguf(testing::read_json(folder / "tokenizer.json"), pre);
  gguf.add_bos = !vectors["special_prefix"].empty();
  if (*gguf.add_bos) gguf.bos_id = vectors["special_prefix"][0];
  return gguf;
}

class GgufPre : public ::testing::TestWithParam<Named> {};

TEST_P(GgufPre, AgreesWithTheTokenizerJson) {
  const auto [name, pre] = GetParam();
  const auto folder = testing::golden_tokenizers() / name;
  CANDOR_REQUIRE_FILE(folder / "vectors.json");
  const json vectors = testing::read_json(folder / "vectors.json");
  const auto tokenizer = Tokenizer::from_gguf(framed(folder, pre, vectors), name);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(testing::check_encoding(*tokenizer, vectors, vectors["cases"], testing::tokenizer_strings(name)), 195);
  testing::check_decoding(*tokenizer, vectors);
}

// tokenizer_json_writer.h: the way back, read by our own reader of tokenizer.json.
TEST_P(GgufPre, WrittenAsTokenizerJsonItGivesTheSameIds) {
  const auto [name, pre] = GetParam();
  const auto folder = testing::golden_tokenizers() / name;
  CANDOR_REQUIRE_FILE(folder / "vectors.json");
  const json vectors = testing::read_json(folder / "vectors.json");
  const auto text = tokenizer_json_of(framed(folder, pre, vectors), name);
  ASSERT_TRUE(text) << text.error().message;
  const auto tokenizer = Tokenizer::from_tokenizer_json(*text, name);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(testing::check_encoding(*tokenizer, vectors, vectors["cases"], testing::tokenizer_strings(name)), 195);
  testing::check_decoding(*tokenizer, vectors);
}

INSTANTIATE_TEST_SUITE_P(All, GgufPre,
                         ::testing::Values(Named{"smollm2_style", "smollm"}, Named{"gpt2_style", "gpt-2"},
                                           Named{"llama3_style", "llama-bpe"}, Named{"qwen2_style", "qwen2"},
                                           Named{"tekken_style", "tekken"}, Named{"o200k_style", "gpt-4o"},
                                           Named{"deepseek_llm_style", "deepseek-llm"},
                                           Named{"deepseek_v3_style", "deepseek-v3"}),
                         [](const auto& test) { return std::string(test.param.golden); });

// The tiny tokenizer of this repository as a GGUF vocabulary.
GgufVocabulary tiny() {
  const auto path = candor::testing::source_dir() / "tests/golden/tokenizer/tokenizer.json";
  return as_gguf(testing::read_json(path), "smollm");
}

TEST(Gguf, FramesATextAsTheFileSays) {
  GgufVocabulary gguf = tiny();
  gguf.add_bos = true;
  gguf.bos_id = 1;
  gguf.add_eos = true;
  gguf.eos_id = 2;
  const auto tokenizer = Tokenizer::from_gguf(gguf, "tiny");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(testing::encode_or_fail(*tokenizer, "hello", {.add_special_tokens = true}), (testing::TokenIds{1, 276, 2}));
  EXPECT_EQ(testing::encode_or_fail(*tokenizer, "hello", {}), (testing::TokenIds{276}));

  const auto written = Tokenizer::from_tokenizer_json(*tokenizer_json_of(gguf, "tiny"), "tiny");
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(testing::encode_or_fail(*written, "hello", {.add_special_tokens = true}), (testing::TokenIds{1, 276, 2}));
  for (int32_t id = 0; id < tokenizer->size(); ++id) {
    EXPECT_EQ(written->id_to_token(id), tokenizer->id_to_token(id));
    EXPECT_EQ(written->is_special(id), tokenizer->is_special(id));
  }
  // A pair, which only other programs ask for: <bos> A <eos> <bos> B <eos>.
  const json pair = json::parse(*tokenizer_json_of(gguf, "tiny"))["post_processor"]["pair"];
  EXPECT_EQ(pair.size(), 6u);
  EXPECT_EQ(pair[4]["Sequence"]["id"], "B");
}

TEST(Gguf, ErrorsNameTheKey) {
  const auto message = [](auto change) {
    GgufVocabulary gguf = tiny();
    change(gguf);
    const auto tokenizer = Tokenizer::from_gguf(gguf, "m.gguf");
    return tokenizer ? std::string("no error") : tokenizer.error().message;
  };
  EXPECT_EQ(message([](auto& g) { g.model = "llama"; }),
            "[tokenizer] m.gguf: tokenizer.ggml.model \"llama\" is not supported; only byte-level BPE (\"gpt2\") is.");
  EXPECT_TRUE(message([](auto& g) {
                g.pre = "nope";
              }).starts_with("[tokenizer] m.gguf: tokenizer.ggml.pre \"nope\" is not known. Known are gpt-2, smollm"));
  EXPECT_EQ(message([](auto& g) { g.merges[3] = "a"; }),
            "[tokenizer] m.gguf: tokenizer.ggml.merges[3] must be two tokens with a space between; got \"a\".");
  EXPECT_EQ(message([](auto& g) { g.merges[0] = "t zz"; }),
            "[tokenizer] m.gguf: merge 0 (\"t\" with \"zz\") needs the token \"zz\", which the vocabulary lacks.");
  EXPECT_EQ(message([](auto& g) { g.token_types.pop_back(); }), "[tokenizer] m.gguf: 281 token types for 282 tokens.");
  EXPECT_EQ(message([](auto& g) { g.add_eos = true; }),
            "[tokenizer] m.gguf: the file asks for EOS around a text, but names no token for it.");
  EXPECT_EQ(message([](auto& g) { g.tokens[5] = g.tokens[4]; }),
            "[tokenizer] m.gguf: token \"\\\"\" stands twice, as 4 and 5.");
  EXPECT_EQ(message([](auto& g) { g.tokens[4] = "other", g.merges.clear(); }),
            "[tokenizer] m.gguf: tokenizer.ggml.tokens lacks a token for the byte 0x22.");
  EXPECT_EQ(message([](auto& g) { g.tokens[9] = "\xFF"; }), "[tokenizer] m.gguf: token 9 is not UTF-8.");
}

}  // namespace
}  // namespace candor::text
