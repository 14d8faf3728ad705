// Tokens that go through the model together. Rows are ragged: there is no padding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace candor::engine {

// Consecutive tokens of one sequence.
struct Segment {
  int64_t begin = 0, end = 0;  // tokens [begin, end) of the batch
  int64_t position = 0;        // of the first of them
  std::vector<int32_t> pages;  // of positions 0-15, 16-31, …, up to the last token's
  // Where a completion begins inside a page of its prompt (position % 16 != 0) it owns a copy of that page. In training
  // the copy is made layer by layer: this is the prompt's page, -1 where there is nothing to copy.
  int32_t straddled_page = -1;
};

// Segments of one prompt are neighbours: its completions first, in row order, then the prompt itself, so that a
// backward pass adds into the prompt's keys and values in that order. (In inference each segment is its own family.)
struct Family {
  int64_t begin = 0, end = 0;  // segments [begin, end)
};

struct TokenBatch {
  std::vector<int32_t> ids;         // [tokens]
  std::vector<int32_t> positions;   // [tokens]
  std::vector<int32_t> segment_of;  // [tokens], into segments
  std::vector<Segment> segments;
  std::vector<Family> families;  // used by the backward pass

  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }

  // Appends ids at positions `position`, position + 1, … as one segment.
  void append(std::span<const int32_t> segment_ids, int64_t position, std::vector<int32_t> pages,
              int32_t straddled_page = -1) {
    Segment segment{tokens(), tokens() + static_cast<int64_t>(segment_ids.size()), position, std::move(pages),
                    straddled_page};
    for (size_t i = 0; i < segment_ids.size(); ++i) {
      ids.push_back(segment_ids[i]);
      positions.push_back(static_cast<int32_t>(position + static_cast<int64_t>(i)));
      segment_of.push_back(static_cast<int32_t>(segments.size()));
    }
    segments.push_back(std::move(segment));
  }
};

}  // namespace candor::engine
