#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "base/rng.h"
#include "data/dialects.h"
#include "data/write_rows.h"

namespace candor::data {
namespace {

using text::Json;

// Rows that stay together, by index, groups in the order of their first row.
Result<std::vector<std::vector<size_t>>> groups_of(const Rows& rows, const std::string& column) {
  std::vector<std::vector<size_t>> groups;
  std::unordered_map<std::string, size_t> known;
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    size_t group = groups.size();
    if (!column.empty()) {
      const Json& columns = rows.rows[i].columns;
      if (!columns.contains(column))
        return error("{}: there is no column \"{}\".", place(rows.name, rows.rows[i]), column);
      group = known.emplace(json_line(columns[column]), group).first->second;
    }
    if (group == groups.size()) groups.emplace_back();
    groups[group].push_back(i);
  }
  return groups;
}

// What the answer of a row depends on; empty where there is no such thing.
std::string prompt_of(const Json& row) {
  const Json columns = in_messages_dialect(row);
  for (const char* name : {"prompt", "instruction"})
    if (columns.contains(name)) return json_line(columns[name]) + json_line(columns.value("input", Json()));
  if (!columns.contains("messages") || !columns["messages"].is_array()) return "";
  for (const Json& message : columns["messages"])
    if (message.is_object() && message.value("role", Json()) == "user")
      return json_line(message.value("content", Json()));
  return "";
}

}  // namespace

Result<Split> split_rows(const Rows& rows, const SplitOptions& options) {
  const auto total = static_cast<int64_t>(rows.rows.size());
  const double share = options.eval_share.value_or(0);
  const int64_t wanted =
      options.eval_rows.value_or(std::max<int64_t>(1, std::llround(share * static_cast<double>(total))));
  if (wanted < 1 || wanted >= total) {
    return error("{}: {} of {} rows cannot be held out. Expected at least 1, and at least 1 left to train on.",
                 rows.name, wanted, total);
  }
  std::vector<std::vector<size_t>> groups = TRY(groups_of(rows, options.group_by));
  const RngKey key{options.seed, RngStream::kData, 0, 0};
  std::vector<bool> held_out(rows.rows.size(), false);
  const auto hold_out = [&](const std::vector<size_t>& group) {
    for (const size_t i : group) held_out[i] = true;
    return static_cast<int64_t>(group.size());
  };
  int64_t held = 0;
  for (size_t left = groups.size(); left > 0 && held < wanted; --left) {  // Fisher-Yates from the end
    std::swap(groups[left - 1], groups[random_below(key, left, left)]);
    if (held + static_cast<int64_t>(groups[left - 1].size()) <= wanted) held += hold_out(groups[left - 1]);
  }
  if (held == 0) {
    const auto smaller = [](const auto& a, const auto& b) { return a.size() < b.size(); };
    held = hold_out(*std::min_element(groups.begin(), groups.end(), smaller));
  }
  if (held == total) {
    return error("{}: all rows have the same \"{}\", so that they cannot be split by it.", rows.name, options.group_by);
  }
  Split split{{rows.name, {}}, {rows.name, {}}};
  for (size_t i = 0; i < rows.rows.size(); ++i) (held_out[i] ? split.eval : split.train).rows.push_back(rows.rows[i]);
  return split;
}

int64_t shared_prompts(const Split& split) {
  std::unordered_set<std::string> trained;
  for (const Row& row : split.train.rows)
    if (std::string prompt = prompt_of(row.columns); !prompt.empty()) trained.insert(std::move(prompt));
  return std::count_if(split.eval.rows.begin(), split.eval.rows.end(),
                       [&](const Row& row) { return trained.contains(prompt_of(row.columns)); });
}

}  // namespace candor::data
