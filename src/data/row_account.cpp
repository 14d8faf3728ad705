#include "data/row_account.h"

#include <fmt/format.h>

#include <algorithm>

namespace candor::data {

void RowAccount::add(std::string_view what, int64_t row, int64_t tokens_lost) {
  auto fate = std::find_if(fates.begin(), fates.end(), [&](const RowFate& one) { return one.what == what; });
  if (fate == fates.end()) fate = fates.insert(fates.end(), RowFate{std::string(what), 0, 0, {}});
  ++fate->rows;
  fate->tokens += tokens_lost;
  if (fate->first.size() < kNamedRows) fate->first.push_back(row);
}

const RowFate* RowAccount::find(std::string_view what) const {
  const auto fate = std::find_if(fates.begin(), fates.end(), [&](const RowFate& one) { return one.what == what; });
  return fate == fates.end() ? nullptr : &*fate;
}

std::vector<std::string> describe(const RowAccount& account) {
  std::vector<std::string> lines = {fmt::format("{} rows: {} kept, {} tokens, {} of them count", account.rows,
                                                account.kept, account.tokens, account.counted_tokens)};
  for (const RowFate& fate : account.fates) {
    lines.push_back(fmt::format("{} {} {}{} (row{} {}{})", fate.rows, fate.rows == 1 ? "row" : "rows", fate.what,
                                fate.tokens == 0 ? "" : fmt::format(", {} tokens lost", fate.tokens),
                                fate.rows == 1 ? "" : "s", fmt::join(fate.first, ", "),
                                fate.rows > static_cast<int64_t>(fate.first.size()) ? ", …" : ""));
  }
  return lines;
}

}  // namespace candor::data
