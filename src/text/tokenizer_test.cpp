#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>

#include "support/tokenizer_vectors.h"

namespace candor::text {
namespace {

using nlohmann::json;
using testing::encode_or_fail;
using Ids = testing::TokenIds;

class GoldenTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, AgreesWithTheLibrary) {
  const auto folder = testing::golden_tokenizers() / GetParam();
  CANDOR_REQUIRE_FILE(folder / "vectors.json");
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(folder / "tokenizer.json"), GetParam());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const json vectors = testing::read_json(folder / "vectors.json");
  EXPECT_GE(testing::check_encoding(*tokenizer, vectors, vectors["cases"], testing::tokenizer_strings(GetParam())),
            195);
  testing::check_decoding(*tokenizer, vectors);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer,
                         ::testing::Values("smollm2_style", "gpt2_style", "llama3_style", "qwen2_style", "falcon_style",
                                           "roberta_style", "deepseek_llm_style", "deepseek_v3_style", "o200k_style",
                                           "tekken_style", "added_flags", "wordlevel"),
                         [](const auto& test) { return std::string(test.param); });

// Tokenizers of later versions: refused, and the message names what is missing.
TEST(Tokenizer, NamesWhatItDoesNotSupport) {
  const std::vector<std::pair<std::string, std::string>> missing = {
      {"llama2_legacy_style", "byte_fallback"}, {"llama2_metaspace_style", "byte_fallback"},
      {"gemma_style", "byte_fallback"},         {"unigram_t5_style", "Unigram"},
      {"unigram_bytes_style", "Unigram"},       {"metaspace_always_style", "Metaspace"}};
  for (const auto& [name, what] : missing) {
    const auto path = testing::golden_tokenizers() / name / "tokenizer.json";
    CANDOR_REQUIRE_FILE(path);
    const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(path), name);
    ASSERT_FALSE(tokenizer) << name;
    EXPECT_NE(tokenizer.error().message.find(fmt::format(" \"{}\" is not supported", what)), std::string::npos)
        << tokenizer.error().message;
  }
}

// GPT-2's own files: encoder.json is the vocabulary, vocab.bpe the merges below a line of comment.
TEST(Tokenizer, Gpt2) {
  const auto folder = testing::shared_dir() / "data/tokenizers/gpt2";
  const auto vectors_path = testing::golden_tokenizers() / "real/gpt2.json";
  CANDOR_REQUIRE_FILE(folder / "encoder.json");
  CANDOR_REQUIRE_FILE(vectors_path);
  json merges = json::array();
  std::stringstream lines(testing::read_text(folder / "vocab.bpe"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty()) merges.push_back(line);
  }
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
  const json file = {
      {"version", "1.0"},
      {"added_tokens",
       {{{"id", 50256},
         {"content", "<|endoftext|>"},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", false},
         {"normalized", false},
         {"special", true}}}},
      {"pre_tokenizer", byte_level},
      {"decoder", byte_level},
      {"model", {{"type", "BPE"}, {"vocab", testing::read_json(folder / "encoder.json")}, {"merges", merges}}}};
  const auto tokenizer = Tokenizer::from_tokenizer_json(file.dump(), "gpt2");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->size(), 50257);
  const json vectors = testing::read_json(vectors_path);
  EXPECT_EQ(testing::check_encoding(*tokenizer, vectors, vectors["cases"], testing::tokenizer_strings("gpt2")), 195);
  testing::check_decoding(*tokenizer, vectors);

  const auto text_path = testing::shared_dir() / "data/tinyshakespeare.txt";
  CANDOR_REQUIRE_FILE(text_path);
  const std::string text = testing::read_text(text_path);
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = encode_or_fail(*tokenizer, text, {});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  RecordProperty("tinyshakespeare_seconds", std::to_string(seconds));
  EXPECT_LT(seconds, 20.0);  // about 0.2 in a release build; the bound leaves room for sanitizers on a busy machine
  EXPECT_EQ(tokenizer->decode(ids, {}), text);
}

TEST(Tokenizer, TrajectoryModel) {
  const auto path = testing::golden("trajectories/model/tokenizer.json");
  CANDOR_REQUIRE_FILE(path);
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(path), "trajectories");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->size(), 96);
  EXPECT_EQ(encode_or_fail(*tokenizer, "w3 w95 nothing<eos>", {.add_special_tokens = true}), (Ids{3, 95, 2, 1}));
  EXPECT_EQ(tokenizer->decode({3, 95, 2, 1}, {}), "w3 w95 <unk> <eos>");
  EXPECT_EQ(tokenizer->decode({3, 95, 2, 1}, {.skip_special_tokens = true}), "w3 w95");
}

// A tokenizer of our own, so that a clone without the oracles tests the whole chain. The expected ids are those of
// tests/golden/tokenizer/make.py, a second implementation by a plain search for the lowest rank.
TEST(Tokenizer, Tiny) {
  const auto folder = candor::testing::source_dir() / "tests/golden/tokenizer";
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(folder / "tokenizer.json"), "tiny");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const json expected = testing::read_json(folder / "expected.json");
  ASSERT_GE(expected.size(), 10u);
  for (const json& item : expected) {
    const std::string text = item["text"];
    SCOPED_TRACE(text);
    const Ids ids = item["ids"];
    EXPECT_EQ(encode_or_fail(*tokenizer, text, {}), ids);
    EXPECT_EQ(tokenizer->decode(ids, {}), text);
    Ids framed = ids;
    framed.insert(framed.begin(), 0);
    EXPECT_EQ(encode_or_fail(*tokenizer, text, {.add_special_tokens = true}), framed);
  }
  EXPECT_EQ(tokenizer->token_to_id("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->id_to_token(2), "<|im_end|>");
  EXPECT_EQ(tokenizer->id_to_token(tokenizer->size()), std::nullopt);
  EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(2));
  EXPECT_FALSE(tokenizer->is_special(3));
  EXPECT_FALSE(tokenizer->is_special(-1));
  const Ids as_text = encode_or_fail(*tokenizer, "<|im_end|>", {.parse_special_tokens = false});
  EXPECT_GT(as_text.size(), 1u);
  EXPECT_EQ(tokenizer->decode(as_text, {}), "<|im_end|>");
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const auto path = candor::testing::source_dir() / "tests/golden/tokenizer/tokenizer.json";
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(path), "tiny");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto ids = tokenizer->encode("caf\xE9", {});
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().message, "[tokenizer] tiny: the text is not UTF-8 at byte 3. Convert it to UTF-8 or drop it.");
}

// One very long word: the merge must not be quadratic (a scan per merge would take minutes here).
TEST(Tokenizer, LongWord) {
  const auto path = candor::testing::source_dir() / "tests/golden/tokenizer/tokenizer.json";
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(path), "tiny");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "the";
  EXPECT_EQ(tokenizer->decode(encode_or_fail(*tokenizer, text, {}), {}), text);
  const std::string spaces(1000000, ' ');
  EXPECT_EQ(tokenizer->decode(encode_or_fail(*tokenizer, spaces + "x", {}), {}), spaces + "x");
}

}  // namespace
}  // namespace candor::text
