#include "text/unicode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <utf8proc.h>

#include <map>
#include <nlohmann/json.hpp>

#include "support/oracle.h"

namespace candor::text {
namespace {

TEST(Unicode, ReplacesMaximalSubparts) {
  EXPECT_EQ(to_valid_utf8("a\xE2\x82"), "a\xEF\xBF\xBD");                            // cut off
  EXPECT_EQ(to_valid_utf8("\xE2\x82z"), "\xEF\xBF\xBDz");                            // one for two bytes
  EXPECT_EQ(to_valid_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(to_valid_utf8("\xF4\x90\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // beyond U+10FFFF
  EXPECT_EQ(to_valid_utf8("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

TEST(Unicode, HoldsBackACutOffCharacter) {
  std::string pending = "x\xF0\x9F\x98";
  EXPECT_EQ(take_valid_utf8(pending), "x");
  EXPECT_EQ(pending, "\xF0\x9F\x98");
  pending += "\x80";
  EXPECT_EQ(take_valid_utf8(pending), "\xF0\x9F\x98\x80");
  EXPECT_EQ(pending, "");
}

TEST(Unicode, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8("h\xC3\xA9llo"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("ab\xFFz"), 2u);
  EXPECT_EQ(find_invalid_utf8("ab\xC3"), 2u);
}

TEST(Unicode, AppendsEveryLength) {
  std::string out;
  for (char32_t c : {U'a', U'é', U'€', U'😀'}) append_utf8(out, c);
  EXPECT_EQ(out, "aé€😀");
}

// Our classes against those that the Hugging Face library was probed for (Unicode 16, Punctuation older). They may
// differ only in characters that our table (Unicode 15) does not know at all.
TEST(Unicode, ClassesAgreeWithTheLibrary) {
  const auto path = testing::golden("text/tokenizers/unicode.json");
  CANDOR_REQUIRE_FILE(path);
  const auto oracle = nlohmann::json::parse(testing::read_text(path));
  const std::map<std::string, bool (*)(char32_t)> classes = {{"\\s", is_white_space},
                                                             {"WhitespaceSplit pre-tokenizer", is_white_space},
                                                             {"\\p{M}", is_mark},
                                                             {"Digits pre-tokenizer", is_numeric},
                                                             {"Punctuation pre-tokenizer", is_punctuation}};
  for (const auto& [name, is_member] : classes) {
    std::vector<bool> member(0x110000);
    const auto& ranges = oracle["classes"][name];
    for (size_t i = 0; i < ranges.size(); i += 2) {
      for (char32_t c = ranges[i].get<uint32_t>(); c <= ranges[i + 1].get<uint32_t>(); ++c) member[c] = true;
    }
    for (char32_t c = 0; c < 0x110000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;  // no characters
      if (utf8proc_category(static_cast<int32_t>(c)) == UTF8PROC_CATEGORY_CN) continue;
      EXPECT_EQ(is_member(c), member[c]) << name << fmt::format(" U+{:X}", static_cast<uint32_t>(c));
    }
  }
}

}  // namespace
}  // namespace candor::text
