#include "data/preference_set.h"

#include <algorithm>

#include "data/dialects.h"
#include "data/preference.h"
#include "data/row_checks.h"
#include "data/sequences.h"

namespace candor::data {
namespace {

using text::Json;

Answer joined(const std::vector<int32_t>& prompt, const std::vector<int32_t>& completion) {
  Answer answer{prompt, static_cast<int64_t>(prompt.size())};
  answer.ids.insert(answer.ids.end(), completion.begin(), completion.end());
  return answer;
}

void cut(Answer& answer, int64_t bound, TruncationMode mode) {
  const int64_t over = static_cast<int64_t>(answer.ids.size()) - bound;
  if (over <= 0) return;
  if (mode == TruncationMode::kKeepStart) {
    answer.ids.resize(static_cast<size_t>(bound));
    answer.prompt_tokens = std::min(answer.prompt_tokens, bound);
  } else {
    answer.ids.erase(answer.ids.begin(), answer.ids.begin() + over);
    answer.prompt_tokens = std::max<int64_t>(0, answer.prompt_tokens - over);
  }
}

struct Side {
  std::string_view name;  // "chosen"
  Answer* answer;
};

// What all loaders do with a row once it is read: bounds, then faults.
class Sieve {
 public:
  Sieve(const Rows& rows, const PreferenceOptions& options) : rows_(rows), options_(options) {
    bound_ = options.max_length.value_or(0);
    if (options.context_length > 0 && (bound_ == 0 || options.context_length < bound_)) bound_ = options.context_length;
  }

  int64_t bound() const { return bound_; }

  // Whether the row is kept; the account is told. Error: the row stops the run.
  Result<bool> fits(const Row& row, std::vector<Side> sides, RowAccount& account) const {
    int64_t longest = 0;
    for (const Side& side : sides) {
      if (side.answer->counted() < 1) return bad(row, fmt::format("\"{}\" is empty.", side.name), account);
      longest = std::max(longest, static_cast<int64_t>(side.answer->ids.size()));
    }
    if (bound_ == 0 || longest <= bound_) return true;
    const std::string name =
        fmt::format("{} {}", bound_ == options_.max_length ? "max_length" : "the context of", bound_);
    if (options_.overlong == Overlong::kError)
      return at(row, fmt::format("{} tokens are more than {}. Raise max_length, shorten the row, or set overlong to "
                                 "truncate or drop.",
                                 longest, name));
    if (options_.overlong == Overlong::kDrop) {
      account.add(fmt::format("dropped: longer than {}", name), row.number, longest);
      return false;
    }
    for (const Side& side : sides) {
      cut(*side.answer, bound_, options_.truncation_mode);
      if (side.answer->counted() < 1)
        return bad(row,
                   fmt::format("\"{}\" is empty after truncation to {} tokens. Raise max_length or drop the row.",
                               side.name, bound_),
                   account);
    }
    account.add(fmt::format("cut to {}", name), row.number, longest - bound_);
    return true;
  }

  // A row from which nothing can be learned: an error, or dropped.
  Result<bool> bad(const Row& row, const std::string& what, RowAccount& account) const {
    if (options_.bad_rows == BadRows::kError) return at(row, what);
    account.add("dropped: " + what, row.number);
    return false;
  }

  Error at(const Row& row, const std::string& what) const {
    return error("[{}] {}: {}", options_.where, place(rows_.name, row), what);
  }

  template <typename R>
  Result<void> finish(PreferenceRows<R>& set, int64_t replaced) const {
    if (set.rows.empty()) {
      const std::vector<std::string> lines = describe(set.account);
      return error("[{}] {}: no row is left to train on. {}.", options_.where, rows_.name,
                   fmt::join(lines.begin() + (lines.size() > 1 ? 1 : 0), lines.end(), "; "));
    }
    set.account.kept = static_cast<int64_t>(set.rows.size());
    if (options_.max_length && bound_ < *options_.max_length)
      set.notes.push_back(
          fmt::format("max_length {} is more than the model's context; {} holds.", *options_.max_length, bound_));
    if (replaced > 0)
      set.notes.push_back(fmt::format(
          "In {} of {} rows the tokens of the prompt alone are not the start of those of prompt and completion: a "
          "token reaches across the border, or the template writes the prompt differently. The completion starts where "
          "they part.",
          replaced, set.rows.size()));
    return {};
  }

 private:
  const Rows& rows_;
  const PreferenceOptions& options_;
  int64_t bound_ = 0;
};

void count(RowAccount& account, const Answer& answer) {
  account.tokens += static_cast<int64_t>(answer.ids.size());
  account.counted_tokens += answer.counted();
}

// Null: neither true nor false.
std::optional<bool> label_of(const Json& label) {
  if (label.is_boolean()) return label.get<bool>();
  if (label == 1 || label == "1" || label == "true" || label == "True") return true;
  if (label == 0 || label == "0" || label == "false" || label == "False") return false;
  return std::nullopt;
}

// The rows of prompt, completion and label that a row of the file is.
Result<std::vector<Json>> labelled_rows(const Json& columns) {
  if (columns.contains("chosen") && columns.contains("rejected")) return as_unpaired(columns);
  if (!columns.contains("prompt") || !columns.contains("completion") || !columns.contains("label"))
    return error("expected columns \"prompt\", \"completion\" and \"label\", or \"chosen\" and \"rejected\", got {}.",
                 column_names(columns));
  return std::vector<Json>{columns};
}

}  // namespace

Result<PairSet> load_pairs(const Rows& rows, const TextReader& reader, const PreferenceOptions& options) {
  const Sieve sieve(rows, options);
  PairSet set{rows.name, {}, sieve.bound(), {}, {}};
  set.account.rows = static_cast<int64_t>(rows.rows.size());
  int64_t replaced = 0;
  for (const Row& row : rows.rows) {
    const std::string fault = text_fault(row.columns);
    auto read =
        fault.empty() ? read_preference(in_messages_dialect(row.columns), reader) : Result<Preference>(Error{fault});
    if (!read) {
      TRY(sieve.bad(row, read.error().message, set.account));
      continue;
    }
    if (read->chosen == read->rejected) {
      TRY(sieve.bad(row,
                    fmt::format("\"chosen\" and \"rejected\" are the same {} tokens: there is nothing to prefer.",
                                read->chosen.size()),
                    set.account));
      continue;
    }
    PreferencePair pair{joined(read->prompt, read->chosen), joined(read->prompt, read->rejected), row.number, 0.0};
    if (row.columns.contains("margin")) {
      const Json& margin = row.columns["margin"];
      if (!margin.is_number()) {
        TRY(sieve.bad(row, fmt::format("\"margin\" is {}; expected a number.", margin.dump()), set.account));
        continue;
      }
      pair.margin = margin.get<double>();
    }
    if (!TRY(sieve.fits(row, {{"chosen", &pair.chosen}, {"rejected", &pair.rejected}}, set.account))) continue;
    if (pair.chosen.ids == pair.rejected.ids) {
      TRY(sieve.bad(row,
                    fmt::format("\"chosen\" and \"rejected\" are the same after truncation to {} tokens. Raise "
                                "max_length or drop the row.",
                                sieve.bound()),
                    set.account));
      continue;
    }
    replaced += read->prompt_tokens_replaced > 0;
    count(set.account, pair.chosen);
    count(set.account, pair.rejected);
    set.rows.push_back(std::move(pair));
  }
  TRY(sieve.finish(set, replaced));
  return set;
}

Result<LabelledSet> load_labelled(const Rows& rows, const TextReader& reader, const PreferenceOptions& options) {
  const Sieve sieve(rows, options);
  LabelledSet set{rows.name, {}, sieve.bound(), {}, {}};
  set.account.rows = static_cast<int64_t>(rows.rows.size());
  int64_t replaced = 0, desirable = 0;
  for (const Row& row : rows.rows) {
    const std::string fault = text_fault(row.columns);
    const auto split =
        fault.empty() ? labelled_rows(in_messages_dialect(row.columns)) : Result<std::vector<Json>>(Error{fault});
    if (!split) {
      TRY(sieve.bad(row, split.error().message, set.account));
      continue;
    }
    for (const Json& columns : *split) {
      const std::optional<bool> label = label_of(columns["label"]);
      if (!label) {
        TRY(sieve.bad(row, fmt::format("\"label\" is {}; expected true or false.", columns["label"].dump()),
                      set.account));
        continue;
      }
      const bool chat = columns["prompt"].is_array();
      const auto end = chat ? Result<std::string>(std::string()) : end_of_sequence(reader);
      if (!end) return end.error();
      auto read = read_prompt_completion(columns, reader, *end);
      if (!read) {
        TRY(sieve.bad(row, read.error().message, set.account));
        continue;
      }
      LabelledAnswer labelled{{std::move(read->ids), static_cast<int64_t>(read->prompt_tokens)}, *label, row.number};
      if (!TRY(sieve.fits(row, {{"completion", &labelled.answer}}, set.account))) continue;
      replaced += read->prompt_tokens_replaced > 0;
      desirable += *label;
      count(set.account, labelled.answer);
      set.rows.push_back(std::move(labelled));
    }
  }
  TRY(sieve.finish(set, replaced));
  if (desirable == 0 || desirable == static_cast<int64_t>(set.rows.size()))
    return error(
        "[{}] {}: every \"label\" is {}. What is wanted can only be told from what is not: give rows of both kinds.",
        options.where, rows.name, desirable == 0 ? "false" : "true");
  return set;
}

}  // namespace candor::data
