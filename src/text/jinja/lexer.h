// A template's source cut into tokens, with the white-space rules of Transformers' environment: trim_blocks (one
// newline directly after a tag goes), lstrip_blocks (white space between a line's start and a tag goes), `-` and `+`
// marks. CR and CRLF become LF, one newline at the end of the template goes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::text::jinja {

enum class TokenKind {
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  floating,
  op,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // data and strings: their content; names, numbers and operators: as written
  int line = 1;
};

std::string describe(const Token& token);  // for error messages, in Jinja's words

// Names the line in its errors.
Result<std::vector<Token>> tokenize(std::string_view source);

Error at_line(int line, const std::string& message);  // "[chat template] line 3: message", unless it already says so

}  // namespace candor::text::jinja
