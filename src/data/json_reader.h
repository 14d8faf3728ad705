// A strict JSON reader for strangers' data rows.
//
// Beside nlohmann's parser because rows need what it does not give: a duplicate key is an error, NaN and Infinity are
// read (as Python writes them), several values may follow each other, nesting is bounded, and a fault is told by line,
// column and reason.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/chat_template.h"

namespace candor::data {

inline constexpr int kDeepestNesting = 100;

class JsonReader {
 public:
  // `bytes` must outlive the reader. A byte order mark at the start is skipped. first_line: where they start in the
  // file.
  explicit JsonReader(std::string_view bytes, int64_t first_line = 1);

  // Skips white space; true when nothing but white space was left.
  bool at_end();
  // The next byte after white space, '\0' at the end.
  char peek();
  // Takes `c` if it is the next byte after white space.
  bool take(char c);
  // Reads one value. Integers beyond 64 bits become doubles. Error: "line L, column C: what is wrong".
  Result<text::Json> value();
  // Goes on after a broken value that began at byte `begin`, on line `line`: at the first later line that begins with
  // '{', or at the end.
  void skip_to_next_object(size_t begin, int64_t line);
  size_t position() const { return at_; }  // bytes read so far
  // 1-based line of the next byte.
  int64_t line() const { return line_; }
  // An Error at the present place, "line L, column C: " before `what`.
  Error fault(std::string_view what) const;

 private:
  Result<text::Json> value(int depth);
  Result<text::Json> object(int depth);
  Result<text::Json> array(int depth);
  Result<text::Json> number();
  Result<std::string> string();
  Result<void> escape(std::string& out);
  Result<uint32_t> hex4();
  bool take_word(std::string_view word);
  void skip_space();

  std::string_view bytes_;
  size_t at_ = 0;
  size_t line_start_ = 0;
  int64_t line_ = 1;
};

// Length in bytes of the well-formed UTF-8 character at the start of `bytes` (Unicode 15, table 3-7), 0 if there is
// none.
size_t utf8_length(std::string_view bytes);

}  // namespace candor::data
