#include "text/unicode_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>

#include "text/unicode.h"

namespace candor::text {
namespace {

// Steps of one match attempt, and KiB of memory for one: far above what a tokenizer's pattern needs on a text of many
// megabytes, and low enough that a hostile pattern ends in seconds.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;

// Oniguruma's \w. The last six are No, which it counts in Latin-1 only; PCRE2's own \w has no marks before 10.43.
constexpr std::string_view kWordMembers = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\u00B2\u00B3\u00B9\u00BC-\u00BE";

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// A class escape (\s \S \w \W \d \D \h \H) or a word boundary (\b \B), for use outside or, as far as that is possible,
// inside [ ].
std::optional<std::string> class_escape(char letter, bool inside) {
  switch (letter) {
    case 's':
      return "\\p{White_Space}";
    case 'S':
      return "\\P{White_Space}";
    case 'd':
      return "\\p{Nd}";
    case 'D':
      return "\\P{Nd}";
    case 'h':
      return inside ? "0-9a-fA-F" : "[0-9a-fA-F]";
    case 'w':
      return inside ? std::string(kWordMembers) : fmt::format("[{}]", kWordMembers);
    case 'b':
      if (inside) return "\\b";  // a backspace
      return fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWordMembers);
    case 'B':
      if (inside) return std::nullopt;
      return fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", kWordMembers);
    case 'W':
      if (inside) return std::nullopt;
      return fmt::format("[^{}]", kWordMembers);
    case 'H':
      if (inside) return std::nullopt;
      return "[^0-9a-fA-F]";
    default:
      return std::string{'\\', letter};
  }
}

// \p{Han} is the property Script in Oniguruma, but Script_Extensions in PCRE2 unless one asks for "sc:".
bool is_script(std::string_view name) {
  const std::string pattern = fmt::format("\\p{{sc:{}}}", name);
  int code = 0;
  size_t offset = 0;
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                       PCRE2_UTF | PCRE2_UCP, &code, &offset, nullptr);
  pcre2_code_free(compiled);
  return compiled != nullptr;
}

// Behind "(?": may the group be copied as it stands? Options must be i and x only, with no sign of others.
bool known_group(std::string_view rest) {
  if (rest.empty()) return false;
  if (std::string_view(":=!>#").find(rest[0]) != std::string_view::npos) return true;
  if (rest[0] == '<') return true;  // lookbehind or a named group
  for (char c : rest) {
    if (c == ':' || c == ')') return true;
    if (c != 'i' && c != 'x' && c != '-') return false;
  }
  return false;
}

}  // namespace

Result<std::string> translate_oniguruma(std::string_view pattern, std::string_view where) {
  const auto refuse = [&](std::string_view what) {
    return error("{}: the regular expression {:?} uses {}, which is not supported.", where, pattern, what);
  };
  std::string out;
  int depth = 0;             // of [
  bool class_start = false;  // directly behind [ or [^
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    const bool at_class_start = std::exchange(class_start, false);
    if (c == '\\') {
      if (i + 1 == pattern.size()) return refuse("a backslash at its end");
      if (std::string_view("gkKGQEXRNOyY").find(next) != std::string_view::npos) {
        return refuse(std::string{'\\', next});
      }
      const auto replaced = class_escape(next, depth > 0);
      if (!replaced) return refuse(fmt::format("\\{} inside [ ]", next));
      out += *replaced;
      ++i;
      const bool named = std::string_view("pPx").find(next) != std::string_view::npos;
      if (named && i + 1 < pattern.size() && pattern[i + 1] == '{') {
        const size_t end = pattern.find('}', i);
        if (end == std::string_view::npos) return refuse("a { without its }");
        const std::string_view name = pattern.substr(i + 2, end - i - 2);
        out += next != 'x' && is_script(name) ? fmt::format("{{sc:{}}}", name) : fmt::format("{{{}}}", name);
        i = end;
      }
    } else if (depth > 0) {
      if (c == '[' && next == ':') {  // [:name:] is the same in both
        const size_t end = pattern.find(":]", i);
        if (end == std::string_view::npos) return refuse("a [: without its :]");
        out += pattern.substr(i, end + 2 - i);
        i = end + 1;
      } else if (c == '[') {  // a nested class is a union: its members join the outer one
        if (next == '^') return refuse("a negated class inside a class");
        ++depth;
      } else if (c == ']' && !at_class_start) {
        if (--depth == 0) out += c;
      } else if (c == '&' && next == '&') {
        return refuse("&& (an intersection of classes)");
      } else {
        out += c;
      }
    } else if (c == '[') {
      depth = 1;
      class_start = true;
      out += c;
      if (next == '^') out += pattern[++i];
    } else if (c == '(' && next == '?' && !known_group(pattern.substr(i + 2))) {
      return refuse("a group (?…) of a kind or with an option");
    } else if (c == '}' && next == '+') {
      return refuse("{n,m}+");
    } else {
      out += c;
    }
  }
  return out;
}

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

Result<Regex> Regex::compile(std::string_view pattern, std::string_view where) {
  if (pattern.size() > 64 * 1024) return error("{}: the regular expression is longer than 64 KiB.", where);
  const std::string translated = TRY(translate_oniguruma(pattern, where));
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> settings(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(settings.get(), PCRE2_NEWLINE_LF);
  int code = 0;
  size_t offset = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset, settings.get());
  if (!compiled->code) {
    return error("{}: the regular expression {:?} is not valid: {}.", where, pattern, pcre2_message(code));
  }
  compiled->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(compiled->context, kMatchLimit);
  pcre2_set_heap_limit(compiled->context, kHeapLimitKib);
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match interprets
  return Regex(std::move(compiled));
}

Result<std::vector<std::pair<size_t, size_t>>> Regex::find_all(std::string_view text) const {
  std::vector<std::pair<size_t, size_t>> matches;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                           pcre2_match_data_free);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;
  while (at <= text.size()) {
    const auto match = [&](uint32_t options) {
      return pcre2_match(compiled_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | options, data.get(),
                         compiled_->context);
    };
    int count = match(0);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) count = match(PCRE2_NO_JIT);
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) return error("the regular expression failed at byte {}: {}.", at, pcre2_message(count));
    const size_t* range = pcre2_get_ovector_pointer(data.get());
    if (range[1] < range[0]) return error("the regular expression set its match's start behind its end.");
    if (range[0] == range[1] && !matches.empty() && matches.back().second == range[1]) {
      if (at == text.size()) break;
      at += utf8_unit(text, at).length;
      continue;
    }
    matches.emplace_back(range[0], range[1]);
    at = range[1];
  }
  return matches;
}

}  // namespace candor::text
