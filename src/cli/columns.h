// Text in columns of a terminal: lines broken between words by the width that characters take there, two texts side by
// side.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace candor::cli {

// Columns that a valid UTF-8 text takes: 0 for a combining mark, 2 for wide East Asian characters and most emoji.
size_t display_width(std::string_view text);

// Lines of at most `width` columns, broken behind spaces, inside a word only where it is longer than a line. All lines
// but the last stay as they are when the text grows. At least one line.
std::vector<std::string> wrap(std::string_view text, size_t width);

// Two texts that grow: a row is printed when both columns have it for certain.
class SideBySide {
 public:
  SideBySide(std::FILE* out, size_t columns, const std::array<std::string, 2>& titles);
  void push(size_t side, std::string_view text);  // printable, whole characters
  void end(size_t side);                          // nothing more comes on this side

 private:
  void print_rows();

  std::FILE* out_;
  size_t width_;  // of one side
  std::array<std::string, 2> texts_;
  std::array<bool, 2> ended_ = {false, false};
  size_t rows_ = 0;  // printed
};

}  // namespace candor::cli
