#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "text/jinja/unicode.h"

namespace candor::text::jinja {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::data:
      return "template data / text";
    case TokenKind::block_begin:
      return "begin of statement block";
    case TokenKind::block_end:
      return "end of statement block";
    case TokenKind::variable_begin:
      return "begin of print statement";
    case TokenKind::variable_end:
      return "end of print statement";
    case TokenKind::end:
      return "end of template";
    default:
      return token.text;
  }
}

Error at_line(int line, const std::string& message) {
  if (message.rfind("[chat template]", 0) == 0) return Error{message};
  return error("[chat template] line {}: {}", line, message);
}

namespace {

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit_char(char c) {
  return c >= '0' && c <= '9';
}

bool is_base_digit(char c, int base) {
  if (base == 16) return is_digit_char(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
  return c >= '0' && c < '0' + base;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) TRY(root());
    add(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool looking_at(std::string_view text) const { return rest().substr(0, text.size()) == text; }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(at_ + bytes), '\n'));
    at_ += bytes;
    line_starting_ = at_ > 0 && source_[at_ - 1] == '\n';
  }
  size_t spaces_at(size_t from) const {
    std::string_view tail = std::string_view(source_).substr(from);
    return tail.size() - strip_left(tail).size();
  }
  Error fail(const std::string& message) const { return at_line(line_, message); }

  // White space before a tag: `-` strips it all; without a mark lstrip_blocks strips what is between line start and
  // tag.
  std::string before_tag(std::string_view data, char mark, bool lstrip) const {
    if (mark == '-') return std::string(strip_right(data));
    if (mark != '+' && lstrip) {
      size_t newline = data.rfind('\n');
      size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && strip_left(data.substr(start)).empty())
        return std::string(data.substr(0, start));
    }
    return std::string(data);
  }

  // `-%}` and what follows, `%}` (with one newline where `trim`), `+%}`; 0 where there is no such end.
  size_t tag_end(size_t from, std::string_view close, bool trim, bool plus) const {
    std::string_view tail = std::string_view(source_).substr(from);
    if (tail.substr(0, 1) == "-" && tail.substr(1, 2) == close) return 3 + spaces_at(from + 3);
    if (plus && tail.substr(0, 1) == "+" && tail.substr(1, 2) == close) return 3;
    if (tail.substr(0, 2) == close) return 2 + (trim && tail.size() > 2 && tail[2] == '\n' ? 1 : 0);
    return 0;
  }

  Result<void> root() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        add(TokenKind::data, source_.substr(at_));
        advance(source_.size() - at_);
        return {};
      }
      char second = source_[tag + 1];
      if (second == '%' || second == '{' || second == '#') break;
      ++tag;
    }
    char second = source_[tag + 1];
    char mark = tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+') ? source_[tag + 2] : 0;
    std::string data = before_tag(std::string_view(source_).substr(at_, tag - at_), mark, second != '{');
    if (!data.empty()) add(TokenKind::data, std::move(data));
    advance(tag - at_ + 2 + (mark ? 1 : 0));
    if (second == '#') return comment();
    if (second == '{') {
      add(TokenKind::variable_begin, "{{");
      return inside(TokenKind::variable_end);
    }
    size_t word = at_ + spaces_at(at_);
    if (source_.compare(word, 3, "raw") == 0) {
      size_t end = word + 3 + spaces_at(word + 3);
      if (size_t length = tag_end(end, "%}", false, false)) {
        advance(end + length - at_);
        return raw();
      }
    }
    add(TokenKind::block_begin, "{%");
    return inside(TokenKind::block_end);
  }

  Result<void> comment() {
    for (size_t end = at_; end < source_.size(); ++end) {
      if (size_t length = tag_end(end, "#}", true, true)) {
        advance(end + length - at_);
        return {};
      }
    }
    return fail("Missing end of comment tag");
  }

  Result<void> raw() {
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      char mark =
          tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+') ? source_[tag + 2] : 0;
      size_t word = tag + 2 + (mark ? 1 : 0);
      word += spaces_at(word);
      if (source_.compare(word, 6, "endraw") != 0) continue;
      size_t end = word + 6 + spaces_at(word + 6);
      size_t length = tag_end(end, "%}", true, true);
      if (length == 0) continue;
      add(TokenKind::data, before_tag(std::string_view(source_).substr(at_, tag - at_), mark, true));
      advance(end + length - at_);
      return {};
    }
    return fail("Missing end of raw directive");
  }

  // The inside of {% … %} or {{ … }}. Within brackets the closing mark is an operator like any other.
  Result<void> inside(TokenKind closing) {
    bool block = closing == TokenKind::block_end;
    std::string brackets;
    while (at_ < source_.size()) {
      if (brackets.empty()) {
        if (size_t length = tag_end(at_, block ? "%}" : "}}", block, block)) {
          add(closing, block ? "%}" : "}}");
          advance(length);
          return {};
        }
      }
      if (size_t spaces = spaces_at(at_)) {
        advance(spaces);
        continue;
      }
      char c = source_[at_];
      size_t next = at_;
      if (is_digit_char(c)) {
        TRY(number());
      } else if (c == '"' || c == '\'') {
        TRY(string(c));
      } else if (is_identifier(next_code_point(source_, next))) {
        while (next < source_.size()) {
          size_t after = next;
          if (!is_identifier(next_code_point(source_, after))) break;
          next = after;
        }
        add(TokenKind::name, source_.substr(at_, next - at_));
        advance(next - at_);
      } else {
        TRY(op(brackets));
      }
    }
    return {};
  }

  size_t digits(size_t from, int base) const {  // digits with single underscores between them
    size_t end = from;
    while (end < source_.size()) {
      size_t digit = source_[end] == '_' && end > from ? end + 1 : end;
      if (digit >= source_.size() || !is_base_digit(source_[digit], base)) break;
      end = digit + 1;
    }
    return end;
  }

  Result<void> number() {
    size_t end = at_;
    TokenKind kind = TokenKind::integer;
    char second = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : ' ';
    int base = source_[at_] != '0' ? 10 : second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
    size_t prefixed = base == 10 ? at_ : digits(at_ + 2, base);
    if (base != 10 && prefixed > at_ + 2) {
      end = prefixed;
    } else {
      end = digits(at_, 10);
      if (at_ == 0 || source_[at_ - 1] != '.') {
        size_t exponent = end;
        if (end < source_.size() && source_[end] == '.' && digits(end + 1, 10) > end + 1) {
          exponent = digits(end + 1, 10);
          kind = TokenKind::floating;
        }
        if (exponent < source_.size() && (source_[exponent] | 0x20) == 'e') {
          size_t start = exponent + 1;
          if (start < source_.size() && (source_[start] == '+' || source_[start] == '-')) ++start;
          if (digits(start, 10) > start) {
            exponent = digits(start, 10);
            kind = TokenKind::floating;
          }
        }
        if (kind == TokenKind::floating) end = exponent;
      }
      // Python has no leading zeros: 012 is the number 0 and then the number 12.
      if (kind == TokenKind::integer && source_[at_] == '0') {
        for (end = at_ + 1; end < source_.size() && source_[end] == '0';) ++end;
      }
    }
    std::string text = source_.substr(at_, end - at_);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    add(kind, std::move(text));
    advance(end - at_);
    return {};
  }

  Result<void> string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
      return fail(fmt::format("unexpected char {} at {}: the string has no end", quoted_char(quote), at_));
    std::string_view body = std::string_view(source_).substr(at_ + 1, end - at_ - 1);
    add(TokenKind::string, TRY(unescape(body)));
    advance(end + 1 - at_);
    return {};
  }

  static std::string quoted_char(char c) { return c == '\'' ? "\"'\"" : fmt::format("'{}'", c); }

  Result<std::string> unescape(std::string_view body) const {
    std::string out;
    for (size_t i = 0; i < body.size(); ++i) {
      if (body[i] != '\\') {
        out += body[i];
        continue;
      }
      char c = body[++i];  // string() has made sure that a character follows
      static constexpr std::string_view kPlain = "\\'\"abfnrtv", kMeaning = "\\'\"\a\b\f\n\r\t\v";
      if (size_t found = kPlain.find(c); found != std::string_view::npos) {
        out += kMeaning[found];
      } else if (c == '\n') {
        continue;
      } else if (c >= '0' && c <= '7') {
        char32_t value = 0;
        size_t end = i;
        while (end < body.size() && end < i + 3 && body[end] >= '0' && body[end] <= '7')
          value = value * 8 + static_cast<char32_t>(body[end++] - '0');
        append_utf8(out, value);
        i = end - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        size_t length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        std::string_view hex = body.substr(i + 1, length);
        bool good =
            hex.size() == length && std::all_of(hex.begin(), hex.end(), [](char h) { return is_base_digit(h, 16); });
        char32_t value = good ? static_cast<char32_t>(std::stoul(std::string(hex), nullptr, 16)) : 0x110000;
        if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
          return fail(fmt::format("'\\{}{}' in a string is no character", c, hex));
        }
        append_utf8(out, value);
        i += length;
      } else if (c == 'N') {
        return fail("'\\N{...}' in a string is not supported");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  Result<void> op(std::string& brackets) {
    static constexpr std::array<std::string_view, 26> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                    ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (std::string_view candidate : kOperators) {
      if (!looking_at(candidate)) continue;
      char c = candidate[0];
      if (c == '(' || c == '[' || c == '{') brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
      if (c == ')' || c == ']' || c == '}') {
        if (brackets.empty()) return fail(fmt::format("unexpected '{}'", c));
        if (brackets.back() != c) return fail(fmt::format("unexpected '{}', expected '{}'", c, brackets.back()));
        brackets.pop_back();
      }
      add(TokenKind::op, std::string(candidate));
      advance(candidate.size());
      return {};
    }
    size_t next = at_;
    next_code_point(source_, next);
    return fail(fmt::format("unexpected char '{}' at {}", source_.substr(at_, next - at_),
                            count_code_points(std::string_view(source_).substr(0, at_))));
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace candor::text::jinja
