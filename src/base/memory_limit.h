// How much memory this process may use, and how much it does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace candor {

// "8GB" (10^9), "8GiB" (2^30), "800MB", "1.5G" (as GB), "65536" bytes; any case, a space before the unit. Error: no
// number of at least one byte, an unknown unit, more than 2^60 bytes.
Result<int64_t> parse_bytes(std::string_view text);

struct MemoryLimit {
  int64_t bytes = 0;   // of anonymous memory, what the process already holds included
  std::string source;  // in words: "the memory that this machine has available"
};

// The smaller of what the machine has available and what the process's control group leaves to it: memory.max (version
// 2) or memory.limit_in_bytes (version 1) of the group and of every group above it, less what others in that group use
// and cannot give up. `root` is where proc and sys lie. Without proc: the largest number, "unknown".
MemoryLimit memory_limit(const std::filesystem::path& root = "/");

// Anonymous memory (RssAnon) of this process now, and at its peak so far: the largest resident size less what of files
// is mapped, which grows only. 0 where the system does not say.
int64_t anonymous_bytes();
int64_t peak_anonymous_bytes();

}  // namespace candor
