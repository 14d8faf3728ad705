// What became of every row of a dataset on its way to training: nothing is cut or dropped without being told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace candor::data {

// Rows of one fate.
struct RowFate {
  std::string what;  // "dropped: the prompt alone fills max_length 8"
  int64_t rows = 0;
  int64_t tokens = 0;          // tokens that were lost with them, 0 where none were
  std::vector<int64_t> first;  // their numbers in the file, the first kNamedRows of them
};
inline constexpr size_t kNamedRows = 5;

struct RowAccount {
  int64_t rows = 0;            // in the file
  int64_t kept = 0;            // that train, whole or cut
  int64_t tokens = 0;          // in those
  int64_t counted_tokens = 0;  // of which so many count in the loss
  std::vector<RowFate> fates;  // what was dropped, cut or is otherwise worth a word, in order of first appearance

  void add(std::string_view what, int64_t row, int64_t tokens_lost = 0);
  const RowFate* find(std::string_view what) const;  // null: no row
};

// One line each, for a terminal: "10 rows: 9 kept, 120 tokens, 80 of them count", then the fates with their rows.
std::vector<std::string> describe(const RowAccount& account);

}  // namespace candor::data
