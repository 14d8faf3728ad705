#include "cli/terminal.h"

#include <gtest/gtest.h>

namespace candor::cli {
namespace {

TEST(Terminal, ControlCharactersAndBadBytesAreReplaced) {
  EXPECT_EQ(printable("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(printable("\x1b[2J\x07"), "\uFFFD[2J\uFFFD");
  EXPECT_EQ(printable("한글 é €"), "한글 é €");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\uFFFD31m");                                        // CSI as one C1 character
  EXPECT_EQ(printable("\u202Eevil\u2066"), "\uFFFDevil\uFFFD");  // overrides of the reading direction
  EXPECT_EQ(printable("\xff\xc3"), "\uFFFD\uFFFD");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(printable("\xC0\xAF"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(printable("\r"), "\uFFFD");
}

TEST(Terminal, OneLineIsCutAfterWholeCharacters) {
  EXPECT_EQ(one_line("a\nb\tc", 10), "a b c");
  EXPECT_EQ(one_line("한국어", 2), "한…");
  EXPECT_EQ(one_line("한국어", 3), "한국어");
  EXPECT_EQ(in_quotes("x\n"), "\"x \"");
}

}  // namespace
}  // namespace candor::cli
