#include "base/nearest_name.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace candor {
namespace {

// Longer names are cut: a key is short, and the table below is quadratic in what a stranger may have written.
constexpr size_t kLongestName = 128;

std::string folded(std::string_view name) {
  std::string text(name.substr(0, kLongestName));
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '-') c = '_';
  }
  return text;
}

}  // namespace

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, substitution});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

std::optional<std::string> nearest_name(std::string_view name, std::span<const std::string> names) {
  const std::string wanted = folded(name);
  const std::string* nearest = nullptr;
  size_t smallest = std::max<size_t>(1, wanted.size() / 2);
  for (const std::string& candidate : names) {
    const size_t distance = edit_distance(wanted, folded(candidate));
    if (distance < smallest || (distance == smallest && nearest == nullptr)) {
      smallest = distance;
      nearest = &candidate;
    }
  }
  if (nearest == nullptr) return std::nullopt;
  return *nearest;
}

std::string did_you_mean(std::string_view name, std::span<const std::string> names) {
  const std::optional<std::string> nearest = nearest_name(name, names);
  return nearest ? fmt::format(" Did you mean \"{}\"?", *nearest) : std::string();
}

}  // namespace candor
