// One component at a time, against units.json: what each normalizer, pre-tokenizer, decoder and tiny model of a
// tokenizer.json does, and which files the library refuses.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/tokenizer_vectors.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"

namespace candor::text {
namespace {

using nlohmann::json;
using Ids = testing::TokenIds;

class TokenizerUnits : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = testing::golden_tokenizers() / "units.json";
    CANDOR_REQUIRE_FILE(path);
    units_ = testing::read_json(path);
  }
  json units_;
};

TEST_F(TokenizerUnits, Normalizers) {
  std::set<std::string> refused;
  int cases = 0;
  for (const json& unit : units_["normalizers"]) {
    SCOPED_TRACE(unit["config"].dump());
    const auto normalizer = parse_normalizer(unit["config"], "test");
    if (!normalizer) {
      refused.insert(unit["config"]["type"].get<std::string>());
      continue;
    }
    for (const json& item : unit["cases"]) {
      const auto text = normalize(*normalizer, item[0]);
      ASSERT_TRUE(text) << text.error().message;
      EXPECT_EQ(*text, item[1].get<std::string>());
      ++cases;
    }
  }
  EXPECT_EQ(refused, (std::set<std::string>{"Nmt", "ByteLevel", "BertNormalizer"}));
  EXPECT_GT(cases, 200);
}

TEST_F(TokenizerUnits, PreTokenizers) {
  std::set<std::string> refused;
  int cases = 0;
  for (const json& unit : units_["pre_tokenizers"]) {
    SCOPED_TRACE(unit["config"].dump());
    const auto pre_tokenizer = parse_pre_tokenizer(unit["config"], "test");
    if (!pre_tokenizer) {
      refused.insert(unit["config"]["type"].get<std::string>());
      continue;
    }
    for (const json& item : unit["cases"]) {
      const std::string text = item[0];
      std::vector<std::string> expected, pieces;
      for (size_t i = 0; i < item[1].size(); i += 3) expected.push_back(item[1][i]);
      if (text.empty()) continue;  // pieces are never empty
      pieces.push_back(text);
      const auto split = pre_tokenize(*pre_tokenizer, pieces);
      ASSERT_TRUE(split) << split.error().message;
      EXPECT_EQ(pieces, expected) << text;
      ++cases;
    }
  }
  EXPECT_EQ(refused, (std::set<std::string>{"Metaspace", "BertPreTokenizer", "CharDelimiterSplit", "UnicodeScripts",
                                            "FixedLength"}));
  EXPECT_GT(cases, 900);
}

TEST_F(TokenizerUnits, ByteLevelDecoder) {
  const json& unit = units_["decoders"][0];
  ASSERT_EQ(unit["config"]["type"], "ByteLevel");
  for (const json& item : unit["cases"]) {
    json vocab = {{"[UNK]", 0}};  // the tokens as a vocabulary, decoded by their ids
    Ids ids;
    for (const json& token : item[0]) {
      if (!vocab.contains(token)) vocab[token.get<std::string>()] = vocab.size();
      ids.push_back(vocab[token.get<std::string>()]);
    }
    const json file = {{"decoder", unit["config"]},
                       {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "[UNK]"}}}};
    const auto tokenizer = Tokenizer::from_tokenizer_json(file.dump(), "test");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    EXPECT_EQ(tokenizer->decode(ids, {}), item[1].get<std::string>());
  }
}

TEST_F(TokenizerUnits, Models) {
  std::set<std::string> refused;
  for (const json& unit : units_["models"]) {
    const std::string name = unit["name"];
    SCOPED_TRACE(name);
    const auto tokenizer = Tokenizer::from_tokenizer_json(unit["config"].dump(), name);
    if (!tokenizer) {
      refused.insert(name);
      continue;
    }
    for (const json& item : unit["cases"]) {
      const auto ids = tokenizer->encode(item["text"].get<std::string>(), {.add_special_tokens = true});
      EXPECT_EQ(ids.has_value(), !item.contains("error")) << item;
      if (!ids) continue;
      EXPECT_EQ(*ids, item["ids"].get<Ids>()) << item;
      EXPECT_EQ(tokenizer->decode(*ids, {}), item["decoded"].get<std::string>()) << item;
      EXPECT_EQ(tokenizer->decode(*ids, {.skip_special_tokens = true}), item["decoded_skip"].get<std::string>())
          << item;
    }
  }
  EXPECT_EQ(refused, (std::set<std::string>{
                         "bpe_end_suffix",  // its decoder, BPEDecoder
                         "bpe_byte_fallback", "bpe_byte_fallback_partial", "bpe_byte_fallback_no_unk", "wordpiece",
                         "unigram", "unigram_ties", "unigram_bytes",
                         "added_id_not_as_written",  // the library renumbers it silently; we refuse it
                     }));
}

// Every file that the library refuses is refused; two that it takes are refused as well.
TEST_F(TokenizerUnits, BrokenFiles) {
  const std::set<std::string> stricter = {"duplicate_vocab_ids", "post_processor_unknown_token"};
  for (const json& unit : units_["bad"]) {
    const std::string name = unit["name"];
    const auto tokenizer = Tokenizer::from_tokenizer_json(unit["text"].get<std::string>(), name);
    EXPECT_EQ(tokenizer.has_value(), unit["error"].is_null() && !stricter.contains(name)) << name;
    if (!tokenizer) {
      EXPECT_TRUE(tokenizer.error().message.starts_with("[tokenizer] " + name)) << tokenizer.error().message;
    }
  }
}

// Every value of a good file replaced by values of other shapes, and every key removed: an answer or an error, no
// crash.
TEST(TokenizerHostile, EveryPlaceOfAFileMayHoldAnything) {
  const auto path = candor::testing::source_dir() / "tests/golden/tokenizer/tokenizer.json";
  json file = testing::read_json(path);
  file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", "b"}};
  const json strange[] = {nullptr,
                          true,
                          -1,
                          1e300,
                          4000000000u,
                          "",
                          "(",
                          json::array(),
                          {{1, 2}},
                          json::object(),
                          {{"type", "Sequence"}},
                          {{"type", 7}},
                          {{"String", nullptr}}};
  const json flat = file.flatten();
  std::vector<std::string> pointers;
  for (const auto& [pointer, value] : flat.items()) {
    if (pointer.starts_with("/model/vocab/") && pointers.size() % 7 != 0) continue;
    for (std::string at = pointer; !at.empty(); at.resize(at.rfind('/'))) pointers.push_back(at);
  }
  std::sort(pointers.begin(), pointers.end());
  pointers.erase(std::unique(pointers.begin(), pointers.end()), pointers.end());
  int loaded = 0, refused = 0;
  const auto try_file = [&](const json& changed) {
    const auto tokenizer = Tokenizer::from_tokenizer_json(changed.dump(), "hostile");
    (tokenizer ? loaded : refused) += 1;
    if (!tokenizer) {
      EXPECT_TRUE(tokenizer.error().message.starts_with("[tokenizer] hostile"));
    } else if (const auto ids = tokenizer->encode("the aa <|im_end|> 12", {.add_special_tokens = true})) {
      tokenizer->decode(*ids, {});
    }
  };
  for (const std::string& pointer : pointers) {
    for (const json& value : strange) {
      json changed = file;
      changed[json::json_pointer(pointer)] = value;
      try_file(changed);
    }
    json changed = file;
    const json::json_pointer at(pointer);
    if (changed[at.parent_pointer()].is_object()) changed[at.parent_pointer()].erase(at.back());
    try_file(changed);
  }
  EXPECT_GT(loaded, 10);
  EXPECT_GT(refused, 1000);
}

TEST(TokenizerHostile, DeepNestingAndHugeIds) {
  std::string nested = R"({"type":"Lowercase"})";
  for (int i = 0; i < 2000; ++i) nested = R"({"type":"Sequence","normalizers":[)" + nested + "]}";
  const std::string model = R"("model":{"type":"WordLevel","unk_token":"a","vocab":{"a":0}}})";
  const auto deep = Tokenizer::from_tokenizer_json(R"({"normalizer":)" + nested + "," + model, "deep");
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().message, "[tokenizer] deep: normalizer: sequences are nested more than 8 deep.");
  const auto huge = Tokenizer::from_tokenizer_json(
      R"({"model":{"type":"WordLevel","unk_token":"a","vocab":{"a":2000000000}}})", "huge");
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().message,
            "[tokenizer] huge: model: token id 2000000000 is not in [0, 71), what a file of this size can hold.");
  EXPECT_FALSE(Tokenizer::from_tokenizer_json(std::string(1000000, '['), "brackets"));
}

}  // namespace
}  // namespace candor::text
