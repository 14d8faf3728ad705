#include "data/stepwise_set.h"

#include <algorithm>

#include "data/row_checks.h"

namespace candor::data {
namespace {

using text::Json;

// The columns of a row, checked.
struct Solution {
  std::string prompt;
  std::vector<std::string> steps;
  std::vector<uint8_t> labels;
};

Result<Solution> read_solution(const Json& columns) {
  if (const std::string fault = text_fault(columns); !fault.empty()) return Error{fault};
  for (const char* name : {"prompt", "completions", "labels"})
    if (!columns.contains(name))
      return error("expected columns \"prompt\", \"completions\" and \"labels\", got {}.", column_names(columns));
  if (!columns["prompt"].is_string()) return error("\"prompt\" is a {}, not text.", columns["prompt"].type_name());
  Solution solution{columns["prompt"].get<std::string>(), {}, {}};
  const Json &steps = columns["completions"], &labels = columns["labels"];
  if (!steps.is_array() || steps.empty()) return error("\"completions\" is no list of steps.");
  for (const Json& step : steps) {
    if (!step.is_string()) return error("\"completions\" holds a {}, not text.", step.type_name());
    solution.steps.push_back(step.get<std::string>());
  }
  if (!labels.is_array() || labels.size() != steps.size())
    return error("\"labels\" must be a list with one label for each of the {} steps.", steps.size());
  for (const Json& label : labels) {
    if (!label.is_boolean() && label != 0 && label != 1)
      return error("\"labels\" holds {}; expected true or false.", label.dump());
    solution.labels.push_back(label == true || label == 1 ? 1 : 0);
  }
  return solution;
}

// Tokens of a text as it stands, without any that the tokenizer would add; there may be none.
Result<std::vector<int32_t>> plain_ids(const TextReader& reader, std::string_view text) {
  return reader.tokenizer.encode(text, {});
}

Result<StepwiseRow> tokens_of(const Solution& solution, const TextReader& reader, const StepwiseOptions& options,
                              int64_t max_length) {
  std::vector<int32_t> prompt;
  if (const auto bos = reader.special_tokens.find("bos_token"); bos != reader.special_tokens.end() && bos->is_string())
    prompt = TRY(plain_ids(reader, bos->get<std::string>()));
  for (const int32_t id : TRY(plain_ids(reader, solution.prompt))) prompt.push_back(id);
  std::vector<std::vector<int32_t>> steps;
  for (const std::string& step : solution.steps) steps.push_back(TRY(plain_ids(reader, step)));
  const std::vector<int32_t> separator = TRY(plain_ids(reader, options.step_separator));
  if (separator.empty()) return error("step_separator has no tokens.");
  return place_labels(prompt, steps, separator, solution.labels, options.last_step_only, max_length);
}

}  // namespace

StepwiseRow place_labels(const std::vector<int32_t>& prompt, const std::vector<std::vector<int32_t>>& steps,
                         const std::vector<int32_t>& separator, const std::vector<uint8_t>& labels, bool last_step_only,
                         int64_t max_length) {
  StepwiseRow row{prompt, {}, {}, 0};
  for (size_t i = 0; i < steps.size(); ++i) {
    row.ids.insert(row.ids.end(), steps[i].begin(), steps[i].end());
    row.ids.insert(row.ids.end(), separator.begin(), separator.end());
    if (last_step_only && i + 1 < steps.size()) continue;
    row.ends.push_back(static_cast<int64_t>(row.ids.size()) - 1);
    row.labels.push_back(labels[i]);
  }
  if (max_length == 0 || static_cast<int64_t>(row.ids.size()) <= max_length) return row;
  row.ids.resize(static_cast<size_t>(max_length));
  while (!row.ends.empty() && row.ends.back() >= max_length) {
    row.ends.pop_back();
    row.labels.pop_back();
  }
  return row;
}

Result<StepwiseSet> load_stepwise(const Rows& rows, const TextReader& reader, const StepwiseOptions& options) {
  const PreferenceOptions& of_rows = options.rows;
  int64_t bound = of_rows.max_length.value_or(0);
  if (of_rows.context_length > 0 && (bound == 0 || of_rows.context_length < bound)) bound = of_rows.context_length;
  StepwiseSet set{rows.name, {}, bound, {}, {}};
  set.account.rows = static_cast<int64_t>(rows.rows.size());
  int64_t right = 0, labelled = 0;
  for (const Row& row : rows.rows) {
    const auto at = [&](const std::string& what) {
      return error("[{}] {}: {}", of_rows.where, place(rows.name, row), what);
    };
    // Nothing can be learned from the row: an error, or dropped.
    const auto bad = [&](const std::string& what) -> Result<void> {
      if (of_rows.bad_rows == BadRows::kError) return at(what);
      set.account.add("dropped: " + what, row.number);
      return {};
    };
    const auto solution = read_solution(row.columns);
    if (!solution) {
      TRY(bad(solution.error().message));
      continue;
    }
    auto whole = tokens_of(*solution, reader, options, 0);
    if (!whole) return at(whole.error().message);
    const auto length = static_cast<int64_t>(whole->ids.size());
    if (bound > 0 && length > bound) {
      const std::string over = fmt::format("longer than max_length {}", bound);
      if (of_rows.overlong == Overlong::kError)
        return at(
            fmt::format("{} tokens are more than max_length {}. Raise max_length, shorten the row, or set "
                        "overlong to truncate or drop.",
                        length, bound));
      if (of_rows.overlong == Overlong::kDrop) {
        set.account.add("dropped: " + over, row.number, length);
        continue;
      }
      whole = TRY(tokens_of(*solution, reader, options, bound));
      if (whole->ends.empty()) {
        TRY(bad(
            fmt::format("no step is left after truncation to {} tokens. Raise max_length or drop the row.", bound)));
        continue;
      }
      set.account.add(fmt::format("cut to max_length {}", bound), row.number, length - bound);
    }
    if (whole->ends.front() == 0) {
      TRY(bad("prompt and first step are empty."));
      continue;
    }
    whole->row = row.number;
    right += std::count(whole->labels.begin(), whole->labels.end(), 1);
    labelled += static_cast<int64_t>(whole->labels.size());
    set.account.tokens += static_cast<int64_t>(whole->ids.size());
    set.account.counted_tokens += static_cast<int64_t>(whole->ends.size());
    set.rows.push_back(std::move(*whole));
  }
  if (set.rows.empty()) return error("[{}] {}: no row is left to train on.", of_rows.where, rows.name);
  set.account.kept = static_cast<int64_t>(set.rows.size());
  if (right == 0 || right == labelled)
    return error(
        "[{}] {}: every step's label is {}. What is right can only be told from what is not: give steps of both kinds.",
        of_rows.where, rows.name, right == 0 ? "false" : "true");
  return set;
}

}  // namespace candor::data
