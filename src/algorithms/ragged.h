// The layout that all losses share: N rows of different lengths, their tokens one after another in flat arrays. There
// is no padding, so nothing can depend on it.
//
// A micro-batch is a slice of a step: its offsets keep the step's numbers, and its token arrays begin at its own first
// token. So the reader subtracts offsets[0]; `begin` and `end` do it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace candor::algorithms {

struct RaggedRows {
  std::span<const int64_t> offsets;  // [N+1], not decreasing; row i holds tokens offsets[i] .. offsets[i+1]
  std::span<const uint8_t> mask;     // [tokens], 1 counts; empty: every token counts

  size_t size() const { return offsets.empty() ? 0 : offsets.size() - 1; }
  size_t tokens() const { return offsets.empty() ? 0 : static_cast<size_t>(offsets.back() - offsets.front()); }
  size_t begin(size_t row) const { return static_cast<size_t>(offsets[row] - offsets.front()); }
  size_t end(size_t row) const { return begin(row + 1); }
  bool counts(size_t token) const { return mask.empty() || mask[token] != 0; }

  // Counted tokens of one row, and of all rows.
  int64_t counted(size_t row) const {
    int64_t n = 0;
    for (size_t t = begin(row); t < end(row); ++t) n += counts(t);
    return n;
  }
  int64_t counted() const {
    int64_t n = 0;
    for (size_t row = 0; row < size(); ++row) n += counted(row);
    return n;
  }

  // Rows first .. first+count; `tokens_of` cuts a token array of these rows to that slice.
  RaggedRows slice(size_t first, size_t count) const {
    RaggedRows part{offsets.subspan(first, count + 1), {}};
    if (!mask.empty()) part.mask = mask.subspan(begin(first), part.tokens());
    return part;
  }
  template <typename T>
  std::span<T> tokens_of(std::span<T> all, size_t first, size_t count) const {
    return all.empty() ? all : all.subspan(begin(first), begin(first + count) - begin(first));
  }
};

}  // namespace candor::algorithms
