// The tokenizers of the golden vectors, from tokenizer.json: ids, decoded text, streams.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "support/oracle.h"

namespace candor::text {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

std::filesystem::path tokenizers() {
  return testing::golden("text/tokenizers");
}
json read_json(const std::filesystem::path& path) {
  return json::parse(testing::read_text(path));
}

// The named strings, and a tokenizer's own ones.
std::map<std::string, std::string> strings_for(const std::string& name) {
  std::map<std::string, std::string> strings;
  const json file = read_json(tokenizers() / "strings.json");
  for (const auto& [key, list] : file.items()) {
    if (!list.is_array() || (key != "strings" && key != name + "_strings")) continue;
    for (const json& item : list) strings[item["name"]] = item["text"];
  }
  return strings;
}

Ids encode(const Tokenizer& tokenizer, const std::string& text, Tokenizer::EncodeOptions options) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids) << (ids ? "" : ids.error().message);
  return ids ? *ids : Ids{-1};
}

void check_cases(const Tokenizer& tokenizer, const json& vectors, const std::string& strings_name) {
  const auto strings = strings_for(strings_name);
  const Ids prefix = vectors.at("special_prefix"), suffix = vectors.at("special_suffix");
  for (const json& expected : vectors.at("cases")) {
    const std::string name = expected.at("name");
    SCOPED_TRACE(name);
    ASSERT_TRUE(strings.contains(name));
    const std::string& text = strings.at(name);
    const Ids ids = expected.at("ids");
    EXPECT_EQ(encode(tokenizer, text, {}), ids);
    Ids special = prefix;
    special.insert(special.end(), ids.begin(), ids.end());
    special.insert(special.end(), suffix.begin(), suffix.end());
    if (expected.contains("ids_special")) special = expected["ids_special"].get<Ids>();
    EXPECT_EQ(encode(tokenizer, text, {.add_special_tokens = true}), special);
    if (expected.contains("ids_as_text")) {
      EXPECT_EQ(encode(tokenizer, text, {.parse_special_tokens = false}), expected["ids_as_text"].get<Ids>());
    }
    const std::string decoded = expected.value("decoded", text);
    EXPECT_EQ(tokenizer.decode(ids, {}), decoded);
    EXPECT_EQ(tokenizer.decode(special, {}), expected.value("decoded_special", decoded));
    EXPECT_EQ(tokenizer.decode(special, {.skip_special_tokens = true}), expected.value("decoded_skip", decoded));
  }
}

void check_decoding(const Tokenizer& tokenizer, const json& vectors) {
  for (const json& expected : vectors.at("decode_cases")) {
    SCOPED_TRACE(expected.at("name").get<std::string>());
    const Ids ids = expected.at("ids");
    const std::string text = expected.at("text");
    EXPECT_EQ(tokenizer.decode(ids, {}), text);
    EXPECT_EQ(tokenizer.decode(ids, {.skip_special_tokens = true}), expected.value("text_skip", text));
  }
  for (const json& expected : vectors.at("stream_cases")) {
    SCOPED_TRACE("stream " + expected.at("name").get<std::string>());
    const auto& parts = expected.contains("bytes") ? expected["bytes"] : expected.at("hf");
    StreamDecoder stream(tokenizer, {});
    std::vector<std::string> given;
    for (int32_t id : expected.at("ids")) given.push_back(stream.push(id));
    EXPECT_EQ(given, parts.get<std::vector<std::string>>());
    EXPECT_EQ(stream.flush(), expected.value("flush", ""));
  }
}

class GoldenTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, AgreesWithTheLibrary) {
  const auto folder = tokenizers() / GetParam();
  CANDOR_REQUIRE_FILE(folder / "vectors.json");
  const auto tokenizer = Tokenizer::from_tokenizer_json(testing::read_text(folder / "tokenizer.json"), GetParam());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const json vectors = read_json(folder / "vectors.json");
  check_cases(*tokenizer, vectors, GetParam());
  check_decoding(*tokenizer, vectors);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer,
                         ::testing::Values("smollm2_style", "gpt2_style", "llama3_style", "qwen2_style", "falcon_style",
                                           "roberta_style", "deepseek_llm_style", "deepseek_v3_style", "o200k_style",
                                           "tekken_style", "added_flags", "wordlevel"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace candor::text
