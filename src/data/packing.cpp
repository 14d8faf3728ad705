#include "data/packing.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "base/check.h"

namespace candor::data {
namespace {

constexpr size_t kDocumentsAtATime = 1000;  // of datasets.Dataset.map
constexpr std::array<std::string_view, 3> kNames = {"bfd", "bfd_split", "wrapped"};

void best_fit_decreasing(std::vector<Piece> pieces, int64_t bin_tokens, std::vector<Bin>& bins) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.length > b.length; });
  std::map<int64_t, std::deque<size_t>> bins_with_room;  // tokens left -> bins, oldest of that room first
  for (const Piece& piece : pieces) {
    size_t bin = bins.size();
    int64_t room = bin_tokens;
    if (const auto fit = bins_with_room.lower_bound(piece.length); fit != bins_with_room.end()) {
      room = fit->first;
      bin = fit->second.front();
      fit->second.pop_front();
      if (fit->second.empty()) bins_with_room.erase(fit);
    } else {
      bins.emplace_back();
    }
    bins[bin].push_back(piece);
    if (room > piece.length) bins_with_room[room - piece.length].push_back(bin);
  }
}

void wrap(std::span<const int64_t> lengths, int64_t first_row, int64_t bin_tokens, std::vector<Bin>& bins) {
  int64_t room = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    for (int64_t start = 0; start < lengths[i];) {
      if (room == 0) {
        bins.emplace_back();
        room = bin_tokens;
      }
      const int64_t length = std::min(room, lengths[i] - start);
      bins.back().push_back({first_row + static_cast<int64_t>(i), start, length});
      start += length;
      room -= length;
    }
  }
}

}  // namespace

Result<PackingStrategy> packing_strategy(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return error("packing_strategy: expected bfd, bfd_split or wrapped, got \"{}\".", name);
  return static_cast<PackingStrategy>(found - kNames.begin());
}

std::string_view name_of(PackingStrategy strategy) {
  return kNames[static_cast<size_t>(strategy)];
}

std::vector<Bin> pack(std::span<const int64_t> lengths, int64_t bin_tokens, PackingStrategy strategy) {
  CHECK(bin_tokens >= 1);
  std::vector<Bin> bins;
  for (size_t first = 0; first < lengths.size(); first += kDocumentsAtATime) {
    const auto some = lengths.subspan(first, std::min(kDocumentsAtATime, lengths.size() - first));
    if (strategy == PackingStrategy::kWrapped) {
      wrap(some, static_cast<int64_t>(first), bin_tokens, bins);
      continue;
    }
    std::vector<Piece> pieces;
    for (size_t i = 0; i < some.size(); ++i) {
      const auto row = static_cast<int64_t>(first + i);
      const int64_t length = strategy == PackingStrategy::kBfd ? std::min(some[i], bin_tokens) : some[i];
      for (int64_t start = 0; start < length; start += bin_tokens)
        pieces.push_back({row, start, std::min(bin_tokens, length - start)});
    }
    std::vector<Bin> of_these;
    best_fit_decreasing(std::move(pieces), bin_tokens, of_these);
    std::move(of_these.begin(), of_these.end(), std::back_inserter(bins));
  }
  return bins;
}

}  // namespace candor::data
