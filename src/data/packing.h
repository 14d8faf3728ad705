// Packing of documents into bins of a fixed number of tokens, as TRL's pack_dataset does it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace candor::data {

// bfd: best fit decreasing; a document longer than a bin loses its tail. bfd_split: the same after cutting such a
// document into pieces. wrapped: all documents one after another, cut wherever a bin is full.
enum class PackingStrategy { kBfd, kBfdSplit, kWrapped };

Result<PackingStrategy> packing_strategy(std::string_view name);  // error: names the three
std::string_view name_of(PackingStrategy strategy);

// Tokens [start, start + length) of document `row` (0-based).
struct Piece {
  int64_t row = 0, start = 0, length = 0;
  bool operator==(const Piece&) const = default;
};
using Bin = std::vector<Piece>;

// Bins of at most `bin_tokens` (>= 1) tokens. Like TRL it looks at 1,000 documents at a time, so that the last bin of
// each thousand may stay part empty. Within a thousand, bfd takes the longest piece first (equal ones in their order)
// and puts it where least room is left, into the oldest such bin; bins are in the order of their creation. Empty
// documents vanish.
std::vector<Bin> pack(std::span<const int64_t> lengths, int64_t bin_tokens, PackingStrategy strategy);

}  // namespace candor::data
