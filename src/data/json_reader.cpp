#include "data/json_reader.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_set>
#include <utility>

namespace candor::data {
namespace {

using text::Json;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The keys of one object: small ones are compared one by one, large ones through a set, so that neither costs a square.
class KeySet {
 public:
  bool insert(const Json::object_t& object, const std::string& key) {
    if (object.size() < 16) {
      for (const auto& [name, value] : object) {
        if (name == key) return false;
      }
      return true;
    }
    if (seen_.empty()) {
      for (const auto& [name, value] : object) seen_.insert(name);
    }
    return seen_.insert(key).second;
  }

 private:
  std::unordered_set<std::string> seen_;
};

}  // namespace

size_t utf8_length(std::string_view bytes) {
  const auto at = [&](size_t i) -> uint32_t { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0; };
  const auto follows = [&](size_t i, uint32_t low = 0x80, uint32_t high = 0xBF) {
    return at(i) >= low && at(i) <= high;
  };
  if (bytes.empty()) return 0;
  const uint32_t first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const uint32_t low = first == 0xE0 ? 0xA0 : 0x80, high = first == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const uint32_t low = first == 0xF0 ? 0x90 : 0x80, high = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

JsonReader::JsonReader(std::string_view bytes, int64_t first_line) : bytes_(bytes), line_(first_line) {
  if (bytes_.substr(0, 3) == "\xEF\xBB\xBF") bytes_.remove_prefix(3);
}

void JsonReader::skip_space() {
  for (; at_ < bytes_.size(); ++at_) {
    const char c = bytes_[at_];
    if (c == '\n') {
      ++line_;
      line_start_ = at_ + 1;
    } else if (c != ' ' && c != '\t' && c != '\r') {
      return;
    }
  }
}

bool JsonReader::at_end() {
  skip_space();
  return at_ == bytes_.size();
}

char JsonReader::peek() {
  return at_end() ? '\0' : bytes_[at_];
}

bool JsonReader::take(char c) {
  if (at_end() || bytes_[at_] != c) return false;
  ++at_;
  return true;
}

bool JsonReader::take_word(std::string_view word) {
  if (bytes_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

void JsonReader::skip_to_next_object(size_t begin, int64_t line) {
  at_ = begin;
  line_ = line;
  while (true) {
    at_ = std::min(bytes_.find('\n', at_), bytes_.size());
    if (at_ == bytes_.size()) return;
    line_start_ = ++at_;
    ++line_;
    const size_t first = bytes_.find_first_not_of(" \t\r", at_);
    if (first != std::string_view::npos && bytes_[first] == '{') return;
  }
}

Error JsonReader::fault(std::string_view what) const {
  return error("line {}, column {}: {}", line_, at_ - line_start_ + 1, what);
}

Result<Json> JsonReader::value() {
  return value(0);
}

Result<Json> JsonReader::value(int depth) {
  if (at_end()) return fault("the file ends where a value was expected; is it cut off?");
  if (depth > kDeepestNesting) return fault(fmt::format("nested deeper than {} levels", kDeepestNesting));
  const char c = bytes_[at_];
  if (c == '{') return object(depth);
  if (c == '[') return array(depth);
  if (c == '"') return Json(TRY(string()));
  if (is_digit(c) || (c == '-' && !take_word("-Infinity"))) return number();
  if (c == '-') return Json(-std::numeric_limits<double>::infinity());
  if (take_word("true")) return Json(true);
  if (take_word("false")) return Json(false);
  if (take_word("null")) return Json(nullptr);
  if (take_word("NaN")) return Json(std::numeric_limits<double>::quiet_NaN());
  if (take_word("Infinity")) return Json(std::numeric_limits<double>::infinity());
  if (c == '\'') return fault("a single quote; JSON strings are written in double quotes");
  return fault("this is not a JSON value");
}

Result<Json> JsonReader::object(int depth) {
  take('{');
  Json::object_t members;
  KeySet keys;
  if (take('}')) return Json(std::move(members));
  while (true) {
    if (peek() != '"') return fault(at_end() ? "the file ends inside an object" : "expected a key in double quotes");
    std::string key = TRY(string());
    if (!keys.insert(members, key))
      return fault(fmt::format("duplicate key \"{}\"; which of the two is meant?", key.substr(0, 80)));
    if (!take(':')) return fault(fmt::format("expected ':' after the key \"{}\"", key.substr(0, 80)));
    Json member = TRY(value(depth + 1));
    // ordered_map's own emplace looks through all keys first; they are known to be different here.
    static_cast<Json::object_t::Container&>(members).emplace_back(std::move(key), std::move(member));
    if (take('}')) return Json(std::move(members));
    if (!take(',')) return fault(at_end() ? "the file ends inside an object" : "expected ',' or '}'");
  }
}

Result<Json> JsonReader::array(int depth) {
  take('[');
  Json::array_t elements;
  if (take(']')) return Json(std::move(elements));
  while (true) {
    elements.push_back(TRY(value(depth + 1)));
    if (take(']')) return Json(std::move(elements));
    if (!take(',')) return fault(at_end() ? "the file ends inside an array" : "expected ',' or ']'");
  }
}

Result<Json> JsonReader::number() {
  const size_t start = at_;
  const auto digits = [&] {
    const size_t before = at_;
    while (at_ < bytes_.size() && is_digit(bytes_[at_])) ++at_;
    return at_ - before;
  };
  take_word("-");
  const size_t first = at_;
  const size_t whole = digits();
  if (whole == 0) return fault("expected a digit");
  if (whole > 1 && bytes_[first] == '0') return fault("a number must not start with 0");
  bool integer = true;
  if (take_word(".")) {
    integer = false;
    if (digits() == 0) return fault("expected a digit after the decimal point");
  }
  if (take_word("e") || take_word("E")) {
    integer = false;
    if (!take_word("+")) take_word("-");
    if (digits() == 0) return fault("expected a digit in the exponent");
  }
  const char* begin = bytes_.data() + start;
  const char* end = bytes_.data() + at_;
  if (integer) {
    int64_t small = 0;
    if (std::from_chars(begin, end, small).ec == std::errc()) return Json(small);
    uint64_t large = 0;
    if (std::from_chars(begin, end, large).ec == std::errc()) return Json(large);
  }
  double real = 0;
  if (std::from_chars(begin, end, real).ec != std::errc()) return fault("this number does not fit into 64 bits");
  return Json(real);
}

Result<std::string> JsonReader::string() {
  ++at_;  // the opening quote
  std::string out;
  while (true) {
    if (at_ == bytes_.size()) return fault("the file ends inside a string");
    const auto c = static_cast<unsigned char>(bytes_[at_]);
    if (c == '"') {
      ++at_;
      return out;
    }
    if (c == '\\') {
      TRY(escape(out));
    } else if (c < 0x20) {
      const std::string_view name = c == '\t' ? "a tab" : c == '\n' ? "a line break" : "a control character";
      const std::string_view spelling = c == '\t' ? "\\t" : c == '\n' ? "\\n" : "\\u00XX";
      return fault(fmt::format("{} inside a string; write it as {}", name, spelling));
    } else {
      const size_t length = utf8_length(bytes_.substr(at_));
      if (length == 0) return fault(fmt::format("byte 0x{:02X} is not valid UTF-8", c));
      out.append(bytes_, at_, length);
      at_ += length;
    }
  }
}

Result<uint32_t> JsonReader::hex4() {
  uint32_t code = 0;
  const std::string_view digits = bytes_.substr(at_, 4);
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() < 4 || ec != std::errc() || end != digits.data() + 4)
    return fault("expected 4 hex digits after \\u");
  at_ += 4;
  return code;
}

Result<void> JsonReader::escape(std::string& out) {
  static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  const char letter = at_ + 1 < bytes_.size() ? bytes_[at_ + 1] : '\0';
  if (const size_t i = kLetters.find(letter); letter != '\0' && i != std::string_view::npos) {
    out += kMeanings[i];
    at_ += 2;
    return {};
  }
  if (letter != 'u') return fault("this escape does not exist in JSON");
  at_ += 2;
  uint32_t code = TRY(hex4());
  if (code >= 0xD800 && code <= 0xDBFF && take_word("\\u")) {
    const uint32_t low = TRY(hex4());
    if (low < 0xDC00 || low > 0xDFFF) return fault("a lone surrogate, half a character");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xD800 && code <= 0xDFFF) {
    return fault("a lone surrogate, half a character");
  }
  append_utf8(out, code);
  return {};
}

}  // namespace candor::data
