#include "cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace candor::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
  bool valid = false;
};

// The character at text[i], by Unicode's table of well-formed UTF-8 (3-7).
Character character_at(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {};
  uint32_t code = first & (0x7Fu >> length);
  for (size_t k = 1; k < length; ++k) {
    if ((byte(k) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(k) & 0x3F);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {};
  return {code, length, true};
}

bool is_control(uint32_t code) {
  if (code < 0x20) return code != '\t' && code != '\n';
  return code == 0x7F || (code >= 0x80 && code < 0xA0) || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0x2028 || code == 0x2029;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    out += character.valid && !is_control(character.code) ? text.substr(i, character.bytes) : kReplacement;
    i += character.bytes;
  }
  return out;
}

std::string one_line(std::string_view text, size_t columns) {
  const std::string clean = printable(text);
  std::string out;
  size_t shown = 0, room_for_dots = 0;  // bytes of the first columns - 1 characters
  for (size_t i = 0; i < clean.size();) {
    const size_t bytes = character_at(clean, i).bytes;
    if (++shown > columns) return out.substr(0, room_for_dots) + "…";
    out += clean[i] == '\n' || clean[i] == '\t' ? std::string_view(" ") : std::string_view(clean).substr(i, bytes);
    if (shown + 1 == columns) room_for_dots = out.size();
    i += bytes;
  }
  return out;
}

std::string in_quotes(std::string_view text) {
  return fmt::format("\"{}\"", one_line(text, 120));
}

bool is_terminal(std::FILE* file) {
  return isatty(fileno(file)) == 1;
}

bool wants_colour(std::FILE* file) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal(file) && (no_colour == nullptr || *no_colour == '\0') &&
         (term == nullptr || std::string_view(term) != "dumb");
}

int terminal_columns(std::FILE* file) {
  winsize size{};
  return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void print_error(std::string_view message) {
  std::fflush(stdout);
  const bool colour = wants_colour(stderr);
  fmt::print(stderr, "{}candor:{} {}\n", colour ? "\x1b[31m" : "", colour ? "\x1b[0m" : "", printable(message));
}

void print_note(std::string_view message) {
  fmt::print(stderr, "candor: {}\n", printable(message));
}

}  // namespace candor::cli
