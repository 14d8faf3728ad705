#include "rewards/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

namespace candor::rewards {
namespace {

// Backtracking steps and KiB of heap for one match: enough for any sane pattern on a long completion, a fraction of a
// second for a bad one.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 20'000;
constexpr size_t kLongestPattern = 10'000;

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatch>;

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::unique_ptr<pcre2_code, FreeCode> code;
  std::unique_ptr<pcre2_match_context, FreeContext> context;
  bool has_group = false;

  MatchData match_data() const { return MatchData(pcre2_match_data_create_from_pattern(code.get(), nullptr)); }

  // Whether there is a match at or after `start`.
  Result<bool> match(std::string_view text, size_t start, uint32_t options, pcre2_match_data* data) const {
    const int found = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start, options,
                                  data, context.get());
    if (found >= 0) return true;
    if (found == PCRE2_ERROR_NOMATCH) return false;
    return error("the regular expression \"{}\" gave up on a text of {} bytes: {}. Make it simpler.", pattern,
                 text.size(), message_of(found));
  }
};

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kLongestPattern) {
    return error("a regular expression of {} bytes; at most {} are allowed.", pattern.size(), kLongestPattern);
  }
  // Completions may hold anything, so bytes that are no UTF-8 just do not match.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
  int code = 0;
  PCRE2_SIZE offset = 0;
  auto impl = std::make_unique<Impl>();
  impl->pattern = pattern;
  impl->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), kOptions, &code, &offset, nullptr));
  if (!impl->code) {
    return error("the regular expression \"{}\" is wrong at character {}: {}.", pattern, offset, message_of(code));
  }
  uint32_t groups = 0;
  pcre2_pattern_info(impl->code.get(), PCRE2_INFO_CAPTURECOUNT, &groups);
  impl->has_group = groups > 0;
  impl->context.reset(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(impl->context.get(), kMatchLimit);
  pcre2_set_heap_limit(impl->context.get(), kHeapLimitKib);
  return Regex(std::move(impl));
}

Result<bool> Regex::matches_all(std::string_view text) const {
  return impl_->match(text, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, impl_->match_data().get());
}

Result<std::optional<std::string>> Regex::last_match(std::string_view text) const {
  const MatchData data = impl_->match_data();
  std::optional<std::string> last;
  size_t start = 0;
  while (start <= text.size() && TRY(impl_->match(text, start, 0, data.get()))) {
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    const bool group = impl_->has_group && ends[2] != PCRE2_UNSET;
    last = std::string(text.substr(ends[group ? 2 : 0], ends[group ? 3 : 1] - ends[group ? 2 : 0]));
    // An empty match moves on by one character; \K can put the end before the start of the search.
    start = ends[1] > start ? ends[1] : start + 1;
    while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) ++start;
  }
  return last;
}

}  // namespace candor::rewards
