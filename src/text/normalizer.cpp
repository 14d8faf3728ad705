#include "text/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <map>
#include <memory>

#include "text/tokenizer_fields.h"
#include "text/unicode.h"

namespace candor::text {

using nlohmann::json;
using Kind = Normalizer::Kind;

namespace {

Result<Normalizer> parse_replace(const json& config, std::string_view where) {
  Normalizer normalizer{.kind = Kind::kReplace};
  normalizer.content = TRY(string_field(config, "content", where));
  const auto pattern = config.find("pattern");
  if (pattern == config.end() || !pattern->is_object() || pattern->size() != 1) {
    return error("{} Replace: \"pattern\" must hold one of \"String\" and \"Regex\".", where);
  }
  if (pattern->contains("String")) {
    normalizer.literal = TRY(string_field(*pattern, "String", where));
  } else {
    normalizer.regex = TRY(Regex::compile(TRY(string_field(*pattern, "Regex", where)), where));
  }
  return normalizer;
}

Result<std::string> unicode_normal_form(const std::string& text, utf8proc_option_t form) {
  bool ascii = true;
  for (char c : text) ascii &= static_cast<unsigned char>(c) < 0x80;
  if (ascii) return text;
  utf8proc_uint8_t* mapped = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &mapped, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | form));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  if (length < 0) return error("[tokenizer] Unicode normalization failed: {}.", utf8proc_errmsg(length));
  return std::string(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

template <typename Append>
std::string map_characters(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = utf8_unit(text, at);
    append(out, unit.character);
    at += unit.length;
  }
  return out;
}

void append_lowercase(std::string& out, char32_t c) {
  if (c == 0x130) {  // the one character whose lower case is two: i and a dot above
    out += "i\xCC\x87";
  } else {
    append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

std::string strip(const std::string& text, bool left, bool right) {
  size_t first = text.size(), last = 0;  // of what is no white space
  for (size_t at = 0; at < text.size();) {
    const Utf8Unit unit = utf8_unit(text, at);
    if (!is_white_space(unit.character)) {
      first = std::min(first, at);
      last = at + unit.length;
    }
    at += unit.length;
  }
  const size_t begin = left ? first : 0;
  const size_t end = right ? last : text.size();
  return begin < end ? text.substr(begin, end - begin) : std::string();
}

Result<std::string> replace(const Normalizer& normalizer, const std::string& text) {
  std::vector<std::pair<size_t, size_t>> matches;
  if (normalizer.regex) {
    matches = TRY(normalizer.regex->find_all(text));
  } else if (!normalizer.literal.empty()) {
    for (size_t at = text.find(normalizer.literal); at != std::string::npos;) {
      const size_t end = at + normalizer.literal.size();
      matches.emplace_back(at, end);
      at = text.find(normalizer.literal, end);
    }
  }
  std::string out;
  size_t done = 0;
  for (const auto& [begin, end] : matches) {
    out.append(text, done, begin - done);
    out += normalizer.content;
    done = end;
  }
  out.append(text, done);
  return out;
}

}  // namespace

Result<Normalizer> parse_normalizer(const json& config, std::string_view where, int depth) {
  if (config.is_null()) return Normalizer();
  const std::string type = TRY(component_type(config, where));
  static const std::map<std::string, Kind> kPlain = {{"NFC", Kind::kNfc},
                                                     {"NFD", Kind::kNfd},
                                                     {"NFKC", Kind::kNfkc},
                                                     {"NFKD", Kind::kNfkd},
                                                     {"Lowercase", Kind::kLowercase},
                                                     {"StripAccents", Kind::kStripAccents}};
  if (const auto plain = kPlain.find(type); plain != kPlain.end()) return Normalizer{.kind = plain->second};
  Normalizer normalizer;
  if (type == "Sequence") {
    const json& parts = *TRY(sequence_field(config, "normalizers", depth, where));
    for (const json& part : parts) {
      normalizer.parts.push_back(TRY(parse_normalizer(part, where, depth + 1)));
    }
  } else if (type == "Strip") {
    normalizer.kind = Kind::kStrip;
    normalizer.strip_left = TRY(bool_field(config, "strip_left", std::nullopt, where));
    normalizer.strip_right = TRY(bool_field(config, "strip_right", std::nullopt, where));
  } else if (type == "Prepend") {
    normalizer.kind = Kind::kPrepend;
    normalizer.content = TRY(string_field(config, "prepend", where));
  } else if (type == "Replace") {
    return parse_replace(config, where);
  } else {
    return unsupported(where, type);
  }
  return normalizer;
}

Result<std::string> normalize(const Normalizer& normalizer, std::string text) {
  switch (normalizer.kind) {
    case Kind::kSequence:
      for (const Normalizer& part : normalizer.parts) text = TRY(normalize(part, std::move(text)));
      return text;
    case Kind::kNfc:
      return unicode_normal_form(text, UTF8PROC_COMPOSE);
    case Kind::kNfd:
      return unicode_normal_form(text, UTF8PROC_DECOMPOSE);
    case Kind::kNfkc:
      return unicode_normal_form(text, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
    case Kind::kNfkd:
      return unicode_normal_form(text, static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
    case Kind::kLowercase:
      return map_characters(text, append_lowercase);
    case Kind::kStripAccents:
      return map_characters(text, [](std::string& out, char32_t c) {
        if (!is_mark(c)) append_utf8(out, c);
      });
    case Kind::kStrip:
      return strip(text, normalizer.strip_left, normalizer.strip_right);
    case Kind::kPrepend:
      return text.empty() ? text : normalizer.content + text;
    case Kind::kReplace:
      return replace(normalizer, text);
  }
  return text;
}

}  // namespace candor::text
