// Checks a Tokenizer against a vectors.json of shared/golden/text/tokenizers (its README says what each key means).
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/oracle.h"
#include "text/tokenizer.h"

namespace candor::testing {

using TokenIds = std::vector<int32_t>;

inline std::filesystem::path golden_tokenizers() {
  return golden("text/tokenizers");
}
inline nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_text(path));
}

// The strings that every tokenizer has vectors for, and those that only `name` has.
inline std::map<std::string, std::string> tokenizer_strings(const std::string& name) {
  std::map<std::string, std::string> strings;
  const nlohmann::json file = read_json(golden_tokenizers() / "strings.json");
  for (const auto& [key, list] : file.items()) {
    if (key != "strings" && key != name + "_strings") continue;
    for (const auto& item : list) strings[item["name"]] = item["text"];
  }
  return strings;
}

inline TokenIds encode_or_fail(const text::Tokenizer& tokenizer, const std::string& text,
                               text::Tokenizer::EncodeOptions options) {
  auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids) << (ids ? "" : ids.error().message);
  return ids ? *ids : TokenIds{-1};
}

// `strings` as tokenizer_strings gives them; returns how many cases were checked.
inline int check_encoding(const text::Tokenizer& tokenizer, const nlohmann::json& vectors, const nlohmann::json& cases,
                          const std::map<std::string, std::string>& strings) {
  const TokenIds prefix = vectors.at("special_prefix"), suffix = vectors.at("special_suffix");
  int checked = 0;
  for (const auto& expected : cases) {
    const std::string name = expected.at("name");
    SCOPED_TRACE(name);
    const auto text = strings.find(name);
    if (text == strings.end()) {
      ADD_FAILURE() << "no such string";
      continue;
    }
    ++checked;
    const TokenIds ids = expected.at("ids");
    EXPECT_EQ(encode_or_fail(tokenizer, text->second, {}), ids);
    TokenIds special = prefix;
    special.insert(special.end(), ids.begin(), ids.end());
    special.insert(special.end(), suffix.begin(), suffix.end());
    if (expected.contains("ids_special")) special = expected["ids_special"].get<TokenIds>();
    EXPECT_EQ(encode_or_fail(tokenizer, text->second, {.add_special_tokens = true}), special);
    if (expected.contains("ids_as_text")) {
      EXPECT_EQ(encode_or_fail(tokenizer, text->second, {.parse_special_tokens = false}),
                expected["ids_as_text"].get<TokenIds>());
    }
    const std::string decoded = expected.value("decoded", text->second);
    EXPECT_EQ(tokenizer.decode(ids, {}), decoded);
    EXPECT_EQ(tokenizer.decode(special, {}), expected.value("decoded_special", decoded));
    EXPECT_EQ(tokenizer.decode(special, {.skip_special_tokens = true}), expected.value("decoded_skip", decoded));
  }
  return checked;
}

inline void check_decoding(const text::Tokenizer& tokenizer, const nlohmann::json& vectors) {
  for (const auto& expected : vectors.at("decode_cases")) {
    SCOPED_TRACE(expected.at("name").get<std::string>());
    const TokenIds ids = expected.at("ids");
    const std::string text = expected.at("text");
    EXPECT_EQ(tokenizer.decode(ids, {}), text);
    EXPECT_EQ(tokenizer.decode(ids, {.skip_special_tokens = true}), expected.value("text_skip", text));
  }
  for (const auto& expected : vectors.at("stream_cases")) {
    SCOPED_TRACE("stream " + expected.at("name").get<std::string>());
    // "bytes" is the rule we follow; a tokenizer without bytes (WordLevel) has only the library's own stream.
    const auto& parts = expected.contains("bytes") ? expected["bytes"] : expected.at("hf");
    text::StreamDecoder stream(tokenizer, {});
    std::vector<std::string> given;
    for (int32_t id : expected.at("ids")) given.push_back(stream.push(id));
    EXPECT_EQ(given, parts.get<std::vector<std::string>>());
    EXPECT_EQ(stream.flush(), expected.value("flush", ""));
  }
}

}  // namespace candor::testing
