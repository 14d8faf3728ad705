#include "cli/columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace candor::cli {
namespace {

using ::testing::ElementsAre;

TEST(Columns, WidthIsThatOfATerminal) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("한국어"), 6u);
  EXPECT_EQ(display_width("e\u0301"), 1u);  // a combining accent
  EXPECT_EQ(display_width("漢a"), 3u);
}

TEST(Columns, LinesBreakBetweenWords) {
  EXPECT_THAT(wrap("", 5), ElementsAre(""));
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("one two", 3), ElementsAre("one", "two"));
  EXPECT_THAT(wrap("abcdefgh ij", 3), ElementsAre("abc", "def", "gh", "ij"));
  EXPECT_THAT(wrap("a\n\nb\tc", 5), ElementsAre("a", "", "b c"));
  EXPECT_THAT(wrap("한국어 문장", 6), ElementsAre("한국어", "문장"));
  EXPECT_THAT(wrap("한국어", 1), ElementsAre("한", "국", "어"));  // wider than the column: one at a time
}

TEST(Columns, FinishedLinesStayWhenTheTextGrows) {
  const std::string text = "The quick brown fox\njumps over  the lazydoghouse, 한국어 too.";
  const auto whole = wrap(text, 9);
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;  // inside a character
    const auto part = wrap(text.substr(0, i), 9);
    for (size_t line = 0; line + 1 < part.size(); ++line) EXPECT_EQ(part[line], whole[line]) << i;
  }
}

TEST(Columns, ARowIsPrintedOnceBothSidesHaveIt) {
  char* bytes = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&bytes, &size);
  SideBySide sides(out, 23, {"left", "right"});
  auto printed = [&] {
    std::fflush(out);
    return std::string(bytes, size);
  };
  const std::string head = "left       | right\n---------- | ----------\n";
  EXPECT_EQ(printed(), head);
  sides.push(0, "one two three four");
  EXPECT_EQ(printed(), head);
  sides.push(1, "eins zwei ");
  EXPECT_EQ(printed(), head);
  sides.push(1, "drei");
  EXPECT_EQ(printed(), head + "one two    | eins zwei\n");
  sides.end(1);
  EXPECT_EQ(printed(), head + "one two    | eins zwei\n");
  sides.end(0);
  EXPECT_EQ(printed(), head + "one two    | eins zwei\nthree four | drei\n");
  std::fclose(out);
  free(bytes);
}

}  // namespace
}  // namespace candor::cli
