#include "text/unicode_regex.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/oracle.h"
#include "text/unicode.h"

namespace candor::text {
namespace {

using Ranges = std::vector<std::pair<size_t, size_t>>;

Ranges find_all(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::compile(pattern, "test");
  EXPECT_TRUE(regex) << (regex ? "" : regex.error().message);
  if (!regex) return {};
  const auto found = regex->find_all(text);
  EXPECT_TRUE(found) << (found ? "" : found.error().message);
  return found ? *found : Ranges();
}

TEST(Regex, TranslatesTheDialect) {
  EXPECT_EQ(*translate_oniguruma("\\s?\\p{L}++", "test"), "\\p{White_Space}?\\p{L}++");
  EXPECT_EQ(*translate_oniguruma("[^(\\s|[.,!?])]+", "test"), "[^(\\p{White_Space}|.,!?)]+");
  EXPECT_EQ(*translate_oniguruma("[]a]\\h", "test"), "[]a][0-9a-fA-F]");
  EXPECT_EQ(*translate_oniguruma("[[:alpha:]\\]]", "test"), "[[:alpha:]\\]]");
}

TEST(Regex, NamesAScriptAsTheScriptItself) {
  EXPECT_EQ(*translate_oniguruma("[\\p{Han}\\P{Greek}\\p{Lu}]\\x{41}", "test"),
            "[\\p{sc:Han}\\P{sc:Greek}\\p{Lu}]\\x{41}");
}

TEST(Regex, RefusesWhatItCannotTranslate) {
  for (const char* pattern :
       {"[a[^b]]", "[a&&b]", "\\p{N}{1,3}+", "(?m:.)", "(?~abc)", "\\Gx", "a\\", "[\\W]", "\\p{L"}) {
    const auto regex = Regex::compile(pattern, "here");
    ASSERT_FALSE(regex) << pattern;
    EXPECT_TRUE(regex.error().message.starts_with("here: the regular expression")) << regex.error().message;
  }
  EXPECT_EQ(Regex::compile("(", "x: pre_tokenizer").error().message,
            "x: pre_tokenizer: the regular expression \"(\" is not valid: missing closing parenthesis.");
}

TEST(Regex, FindsAllMatches) {
  EXPECT_EQ(find_all("a+", "baaab a"), (Ranges{{1, 4}, {6, 7}}));
  EXPECT_EQ(find_all("(?<=[a-z])(?=[A-Z])", "aBcD"), (Ranges{{1, 1}, {3, 3}}));
  EXPECT_EQ(find_all("x*", "axb"), (Ranges{{0, 0}, {1, 2}, {3, 3}}));  // none directly behind another match
  EXPECT_EQ(find_all("(?i:'s)", "A'\u017F"), (Ranges{{1, 4}}));
  EXPECT_EQ(find_all("^b$", "a\nb\nc"), (Ranges{{2, 3}}));  // ^ and $ are line ends
  EXPECT_EQ(find_all(".", "\n\r"), (Ranges{{1, 2}}));
}

TEST(Regex, GivesUpOnARunawayPattern) {
  const auto regex = Regex::compile("(a|aa)+$", "test");
  ASSERT_TRUE(regex);
  const auto found = regex->find_all(std::string(200, 'a') + "b");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("limit"), std::string::npos) << found.error().message;
}

// Members of the classes that tokenizers use, against Oniguruma's (Unicode 16). They may differ only in characters that
// PCRE2 (Unicode 14 in 10.42) does not know: those are unassigned (Cn) to it.
TEST(Regex, ClassesAgreeWithOniguruma) {
  const auto path = testing::golden("text/tokenizers/unicode.json");
  CANDOR_REQUIRE_FILE(path);
  const auto oracle = nlohmann::json::parse(testing::read_text(path));
  std::string all;  // every character, one after another
  std::vector<std::pair<size_t, char32_t>> starts;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    starts.emplace_back(all.size(), c);
    append_utf8(all, c);
  }
  const auto members = [&](const std::string& pattern) {
    std::vector<bool> member(0x110000);
    size_t at = 0;
    for (const auto& [begin, end] : find_all(pattern, all)) {
      while (starts[at].first < begin) ++at;
      for (; at < starts.size() && starts[at].first < end; ++at) member[starts[at].second] = true;
    }
    return member;
  };
  const auto unknown = members("\\p{Cn}");
  for (const char* name : {"\\p{L}", "\\p{Lu}", "\\p{Ll}", "\\p{Lt}", "\\p{Lm}", "\\p{Lo}", "\\p{M}", "\\p{N}",
                           "\\p{Nd}", "\\p{P}", "\\p{S}", "\\p{Z}", "\\s", "\\w", "\\d", "\\p{Han}", "\\p{Hangul}"}) {
    const auto ours = members(name);
    std::vector<bool> theirs(0x110000);
    const auto& ranges = oracle["classes"][name];
    for (size_t i = 0; i < ranges.size(); i += 2) {
      for (char32_t c = ranges[i].get<uint32_t>(); c <= ranges[i + 1].get<uint32_t>(); ++c) theirs[c] = true;
    }
    std::string differing;
    for (const auto& [at, c] : starts) {
      if (ours[c] != theirs[c] && !unknown[c] && differing.size() < 400) {
        differing += fmt::format(" U+{:X}", static_cast<uint32_t>(c));
      }
    }
    EXPECT_EQ(differing, "") << name;
  }
}

}  // namespace
}  // namespace candor::text
