#include "engine/stop_strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"
#include "text/bpe_byte_alphabet.h"

namespace candor::engine {
namespace {

class StopStringsTest : public ::testing::Test {
 protected:
  StopStringsTest()
      : tokenizer_(std::move(text::Tokenizer::from_tokenizer_json(
                                 candor::testing::read_text(candor::testing::source_dir() /
                                                            "tests/golden/tokenizer/tokenizer.json"),
                                 "tokenizer.json"))
                       .value()) {}

  // The bytes of a text, one token each, as the byte-level alphabet has them.
  std::vector<int32_t> bytes(const std::string& text) {
    std::vector<int32_t> ids;
    for (const char c : text)
      ids.push_back(tokenizer_.token_to_id(text::to_byte_alphabet(std::string_view(&c, 1))).value());
    return ids;
  }
  // After how many tokens it stops; 0: never.
  size_t stops_after(const std::vector<std::string>& stops, const std::vector<int32_t>& ids) {
    StopStrings strings(tokenizer_, stops);
    for (size_t i = 0; i < ids.size(); ++i)
      if (strings.push(ids[i])) return i + 1;
    return 0;
  }

  text::Tokenizer tokenizer_;
};

TEST_F(StopStringsTest, AcrossTokens) {
  const auto ids = bytes("Question: 12\n\nNext");
  EXPECT_EQ(stops_after({"\n\n"}, ids), 14u);
  EXPECT_EQ(stops_after({"\n\n\n", "stion:"}, ids), 9u);
  EXPECT_EQ(stops_after({"12\n\nNext?"}, ids), 0u);
  EXPECT_EQ(stops_after({"Q"}, ids), 1u);
  EXPECT_EQ(stops_after({"aab"}, bytes("aaab")), 4u);  // a false start inside the match
  EXPECT_EQ(stops_after({"t"}, bytes("next")), 4u);
}

TEST_F(StopStringsTest, ACharacterAcrossTokens) {
  EXPECT_EQ(bytes("é").size(), 2u);
  EXPECT_EQ(stops_after({"é"}, bytes("caféx")), 5u);
  EXPECT_EQ(stops_after({"한국"}, bytes("a 한국어")), 8u);
  EXPECT_EQ(stops_after({"국"}, bytes("한국어")), 6u);
  EXPECT_EQ(stops_after({"é"}, {bytes("é")[0], bytes("a")[0], bytes("é")[1]}), 0u);  // halves with something between
}

TEST_F(StopStringsTest, TheTokenThatCompletesMayHoldMore) {
  const auto ids = *tokenizer_.encode("the other", {});
  ASSERT_LT(ids.size(), 9u);  // merged
  const size_t count = stops_after({"th"}, ids);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(stops_after({"he"}, ids), tokenizer_.decode({ids[0]}, {}).find("he") != std::string::npos ? 1u : 2u);
}

TEST_F(StopStringsTest, SpecialTokensAreText) {
  std::vector<int32_t> ids = bytes("5");
  ids.push_back(tokenizer_.token_to_id("<|im_end|>").value());
  EXPECT_EQ(stops_after({"<|im_end|>"}, ids), 2u);
  EXPECT_EQ(stops_after({"5<|im"}, ids), 2u);
}

}  // namespace
}  // namespace candor::engine
