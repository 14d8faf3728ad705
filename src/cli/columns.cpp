#include "cli/columns.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/unicode.h"

namespace candor::cli {

namespace {

constexpr std::string_view kBetween = " | ";

// The first `columns` columns of a text, as bytes; at least one character.
size_t prefix_of(std::string_view text, size_t columns) {
  size_t at = 0, used = 0;
  while (at < text.size()) {
    const text::Utf8Unit unit = text::utf8_unit(text, at);
    used += display_width(text.substr(at, unit.length));
    if (used > columns && at > 0) break;
    at += unit.length;
  }
  return at;
}

// One paragraph, without line breaks.
void wrap_paragraph(std::string_view text, size_t width, std::vector<std::string>& lines) {
  while (display_width(text) > width) {
    size_t end = prefix_of(text, width);
    if (end == text.size()) break;  // one character, wider than the column
    const size_t space = text.substr(0, end + 1).rfind(' ');
    size_t next = end;
    if (space != std::string_view::npos && space > 0) {
      end = space;
      next = space + 1;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(next);
  }
  lines.emplace_back(text);
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t columns = 0;
  for (size_t at = 0; at < text.size();) {
    const text::Utf8Unit unit = text::utf8_unit(text, at);
    columns += unit.kind == text::Utf8Unit::Kind::kCharacter ? text::display_columns(unit.character) : 1;
    at += unit.length;
  }
  return columns;
}

std::vector<std::string> wrap(std::string_view text, size_t width) {
  std::string clean(text);
  std::replace(clean.begin(), clean.end(), '\t', ' ');
  std::vector<std::string> lines;
  for (std::string_view rest = clean;;) {
    const size_t end = rest.find('\n');
    wrap_paragraph(rest.substr(0, end), width, lines);
    if (end == std::string_view::npos) return lines;
    rest.remove_prefix(end + 1);
  }
}

SideBySide::SideBySide(std::FILE* out, size_t columns, const std::array<std::string, 2>& titles)
    : out_(out), width_((std::max<size_t>(columns, 20) - kBetween.size()) / 2) {
  const std::string rule(width_, '-');
  fmt::print(out_, "{}{}{}{}\n{}{}{}\n", titles[0],
             std::string(width_ - std::min(width_, display_width(titles[0])), ' '), kBetween, titles[1], rule, kBetween,
             rule);
}

void SideBySide::push(size_t side, std::string_view text) {
  texts_[side] += text;
  print_rows();
}

void SideBySide::end(size_t side) {
  ended_[side] = true;
  print_rows();
}

void SideBySide::print_rows() {
  std::array<std::vector<std::string>, 2> lines;
  std::array<size_t, 2> certain{};
  for (size_t side = 0; side < 2; ++side) {
    lines[side] = wrap(texts_[side], width_);
    certain[side] = ended_[side] ? SIZE_MAX : lines[side].size() - 1;
  }
  const size_t most = std::max(lines[0].size(), lines[1].size());
  const auto line = [&](size_t side) { return rows_ < lines[side].size() ? lines[side][rows_] : std::string(); };
  for (; rows_ < std::min({most, certain[0], certain[1]}); ++rows_) {
    const std::string left = line(0);
    fmt::print(out_, "{}{}{}{}\n", left, std::string(width_ - std::min(width_, display_width(left)), ' '), kBetween,
               line(1));
  }
  std::fflush(out_);
}

}  // namespace candor::cli
