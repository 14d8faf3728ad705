#include "base/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

namespace candor {

namespace {

namespace fs = std::filesystem;

constexpr double kMostBytes = 0x1p60;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::optional<double> unit_bytes(std::string_view unit) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr Unit kUnits[] = {{"", 1},         {"b", 1},    {"k", 1e3},      {"kb", 1e3},    {"kib", 0x1p10},
                             {"m", 1e6},      {"mb", 1e6}, {"mib", 0x1p20}, {"g", 1e9},     {"gb", 1e9},
                             {"gib", 0x1p30}, {"t", 1e12}, {"tb", 1e12},    {"tib", 0x1p40}};
  for (const Unit& known : kUnits)
    if (known.name == unit) return known.bytes;
  return std::nullopt;
}

// The number that a file begins with; nothing where there is no such file, or it holds a word ("max").
std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream in(path);
  int64_t value = 0;
  if (!(in >> value) || value < 0) return std::nullopt;
  return value;
}

// The number behind a key, one key a line: "MemAvailable:   123 kB" or "inactive_file 123".
std::optional<int64_t> value_of(const fs::path& path, std::string_view key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with(key) || line.size() == key.size()) continue;
    const size_t first = line.find_first_of("0123456789", key.size());
    if (first == std::string::npos || line.find_first_not_of(": \t", key.size()) != first) continue;
    int64_t value = 0;
    const auto [end, failure] = std::from_chars(line.data() + first, line.data() + line.size(), value);
    if (failure != std::errc()) continue;
    const bool kib = std::string_view(end, static_cast<size_t>(line.data() + line.size() - end)).starts_with(" kB");
    return kib ? std::min(value, std::numeric_limits<int64_t>::max() / 1024) * 1024 : value;
  }
  return std::nullopt;
}

struct Names {
  const char *limit, *usage, *reclaimable;
};

// What one group leaves to this process.
std::optional<int64_t> left_by(const fs::path& group, const Names& names, int64_t own) {
  const std::optional<int64_t> limit = number_in(group / names.limit);
  if (!limit || static_cast<double>(*limit) >= kMostBytes) return std::nullopt;
  const int64_t used = number_in(group / names.usage).value_or(0);
  const int64_t reclaimable = value_of(group / "memory.stat", names.reclaimable).value_or(0);
  return *limit - std::max<int64_t>(0, used - reclaimable - own);
}

// The least that the groups from `path` up to the mount leave.
void include_groups(const fs::path& mount, std::string_view path, const Names& names, int64_t own, MemoryLimit& least) {
  for (fs::path group = fs::path(path).relative_path();; group = group.parent_path()) {
    if (const auto left = left_by(mount / group, names, own); left && *left < least.bytes)
      least = {*left, "the memory limit of this process's control group"};
    if (group.empty()) return;
  }
}

}  // namespace

Result<int64_t> parse_bytes(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + digits, number);
  std::string_view unit = text.substr(digits);
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const std::optional<double> factor = unit_bytes(lower(unit));
  const double bytes = number * factor.value_or(0);
  if (failure != std::errc() || end != text.data() + digits || !factor || !(bytes >= 1) || bytes > kMostBytes)
    return error("\"{}\" is no amount of memory. Write it as 8GB, 8GiB, 800MB or a number of bytes.", text);
  return static_cast<int64_t>(bytes);
}

MemoryLimit memory_limit(const fs::path& root) {
  MemoryLimit least{std::numeric_limits<int64_t>::max(), "unknown"};
  const int64_t own = value_of(root / "proc/self/status", "RssAnon").value_or(0);
  if (const auto available = value_of(root / "proc/meminfo", "MemAvailable"))
    least = {*available + own, "the memory that this machine has available"};
  std::ifstream groups(root / "proc/self/cgroup");
  std::string line;  // "0::/user.slice" or "4:memory:/docker/1f0a"
  while (std::getline(groups, line)) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string_view path = std::string_view(line).substr(second + 1);
    if (controllers.empty())
      include_groups(root / "sys/fs/cgroup", path, {"memory.max", "memory.current", "inactive_file"}, own, least);
    else if (fmt::format(",{},", controllers).find(",memory,") != std::string::npos)
      include_groups(root / "sys/fs/cgroup/memory", path,
                     {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}, own, least);
  }
  return least;
}

int64_t anonymous_bytes() {
  return value_of("/proc/self/status", "RssAnon").value_or(0);
}

int64_t peak_anonymous_bytes() {
  const fs::path status = "/proc/self/status";
  return std::max<int64_t>(0, value_of(status, "VmHWM").value_or(0) - value_of(status, "RssFile").value_or(0));
}

}  // namespace candor
