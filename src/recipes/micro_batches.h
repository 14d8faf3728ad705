// Which items go through the model together.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace candor::recipes {

// Consecutive items [begin, end), as many as `budget` tokens allow, at least one. tokens(i): of item i in [0, count).
template <typename Tokens>
std::vector<std::pair<size_t, size_t>> batches_within(size_t count, int64_t budget, Tokens tokens) {
  std::vector<std::pair<size_t, size_t>> batches;
  int64_t sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t own = tokens(i);
    if (batches.empty() || sum + own > budget) {
      batches.emplace_back(i, i);
      sum = 0;
    }
    batches.back().second = i + 1;
    sum += own;
  }
  return batches;
}

}  // namespace candor::recipes
