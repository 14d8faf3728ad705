// Rows that say the same as an earlier one, word for word or nearly.
//
// Near: the Jaccard similarity of the two texts' sets of five-character shingles, after NFKC, lower case and single
// spaces. MinHash (Broder 1997) with banding only proposes pairs; each is then computed exactly, so that a row is never
// removed by chance, and one at the threshold is overlooked with probability below `miss_probability`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/rows.h"

namespace candor::data {

struct DedupOptions {
  double threshold = 0.9;  // in (0, 1]; 1: only what is equal after normalizing
  uint64_t seed = 0;
  std::vector<std::string> columns = {};  // whose strings are compared; empty: all that training reads
};

struct DuplicatePair {
  int64_t row = 0, like_row = 0;  // the removed row, and the one that was kept: numbers in the file
  double similarity = 0;          // 1: equal
};

struct Deduplicated {
  Rows kept;                         // in the file's order; of a group the first
  std::vector<DuplicatePair> pairs;  // one for each removed row, in the file's order
  double miss_probability = 0;
};

// `progress`, if any, is called with the number of rows done. Error: a row lacks a column that was named.
Result<Deduplicated> deduplicate(const Rows& rows, const DedupOptions& options,
                                 const std::function<void(int64_t)>& progress = {});

}  // namespace candor::data
