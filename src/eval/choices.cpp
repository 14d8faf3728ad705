#include "eval/choices.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "base/check.h"

namespace candor::eval {
namespace {

using text::Json;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Unicode characters of UTF-8 text, as Python's len counts them.
int64_t characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Result<std::vector<std::string>> texts(const Json& list, std::string_view column) {
  if (!list.is_array()) return error("\"{}\" is a {}. Expected a list of texts.", column, list.type_name());
  std::vector<std::string> result;
  for (const Json& one : list) {
    if (!one.is_string() && !one.is_number())
      return error("\"{}\" holds a {}. Expected texts.", column, one.type_name());
    result.push_back(one.is_string() ? one.get<std::string>() : one.dump());
    if (result.back().empty()) return error("choice {} of \"{}\" is empty.", result.size(), column);
  }
  if (result.size() < 2) return error("\"{}\" holds {} of the two choices at least.", column, result.size());
  return result;
}

std::optional<size_t> place_of(const std::vector<std::string>& names, const std::string& name) {
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) return std::nullopt;
  return static_cast<size_t>(at - names.begin());
}

std::optional<size_t> letter(const std::string& text, size_t choices) {
  if (text.size() != 1) return std::nullopt;
  const size_t place = static_cast<size_t>(static_cast<unsigned char>(text[0])) - 'A';
  if (place >= choices) return std::nullopt;
  return place;
}

// 1 for true; a CSV file has texts only.
std::optional<bool> truth(const Json& label) {
  const std::string text = label.is_string() ? label.get<std::string>() : label.dump();
  for (const char* word : {"1", "true", "True", "TRUE"})
    if (text == word) return true;
  for (const char* word : {"0", "false", "False", "FALSE"})
    if (text == word) return false;
  return std::nullopt;
}

Result<Json> statement_row(Json columns) {
  if (!columns.contains("statement") || !columns["statement"].is_string() ||
      columns["statement"].get_ref<const std::string&>().empty())
    return error("expected a text in the column \"statement\".");
  const auto label = columns.contains("label") ? truth(columns["label"]) : std::nullopt;
  if (!label) return error("expected 1 (true) or 0 (false) in the column \"label\".");
  Json row = Json::object();
  row["prompt"] =
      fmt::format("{}\nIs this statement true or false? Answer:", columns["statement"].get_ref<const std::string&>());
  row["choices"] = Json::array({"True", "False"});
  row["answer"] = *label ? 0 : 1;
  for (const auto& [name, value] : columns.items())
    if (!row.contains(name)) row[name] = value;
  return row;
}

Result<Json> choice_row(Json columns) {
  if (!columns.contains("choices")) {
    if (columns.contains("statement")) return statement_row(std::move(columns));
    return error("expected a column \"choices\" (or \"statement\"), got {}.", data::column_names(columns));
  }
  if (!columns.contains("prompt")) {
    if (!columns.contains("question") || !columns["question"].is_string())
      return error("expected a column \"prompt\" (or \"question\"). Rename the column that holds the prompt.");
    Json row = {{"prompt", columns["question"]}};
    row.update(columns);
    columns = std::move(row);
  }
  TRY(choice_item(columns));
  return columns;
}

struct Encoded {
  std::vector<int32_t> ids;
  size_t first = 0;
};

Result<Encoded> encode_choice(const Json& columns, const std::string& choice, const data::TextReader& reader) {
  const Json& prompt = columns["prompt"];
  Encoded encoded;
  std::vector<int32_t> alone;
  if (prompt.is_array()) {
    const std::string rendered = TRY(data::rendered_text(reader, prompt, columns, "prompt", true));
    alone = TRY(data::encode_rendered(reader, rendered));
    encoded.ids = TRY(data::encode_rendered(reader, rendered + choice));
  } else if (prompt.is_string()) {
    const std::string& text = prompt.get_ref<const std::string&>();
    alone = TRY(data::encode_plain(reader, text));
    encoded.ids = TRY(data::encode_plain(reader, text + choice_text(prompt, choice)));
  } else {
    return error("\"prompt\" is a {}. Expected text or a list of messages.", prompt.type_name());
  }
  encoded.first = data::common_prefix(alone, encoded.ids);
  if (encoded.first == 0) return error("the prompt and the choice \"{}\" make one token together.", choice);
  if (encoded.first == encoded.ids.size()) return error("the choice \"{}\" adds no token to the prompt.", choice);
  return encoded;
}

size_t largest(const std::vector<double>& sums, const std::function<double(size_t)>& length) {
  size_t best = 0;
  for (size_t i = 1; i < sums.size(); ++i)
    if (sums[i] / length(i) > sums[best] / length(best)) best = i;
  return best;
}

void finish(Share& share, size_t items) {
  share.value = static_cast<double>(share.correct) / static_cast<double>(std::max<size_t>(items, 1));
  share.interval = statistics::clopper_pearson(share.correct, static_cast<int64_t>(items));
}

Json share_json(const Share& share) {
  return {{"correct", share.correct},
          {"value", share.value},
          {"interval", Json::array({share.interval.low, share.interval.high})}};
}

}  // namespace

bool offers_choices(const data::Rows& rows) {
  if (rows.rows.empty()) return false;
  const Json& first = rows.rows.front().columns;
  return first.contains("choices") || (first.contains("statement") && first.contains("label"));
}

std::string choice_text(const Json& prompt, const std::string& choice) {
  const std::string& text = prompt.get_ref<const std::string&>();
  const bool parted = is_space(choice.front()) || (!text.empty() && is_space(text.back()));
  return parted ? choice : " " + choice;
}

Result<ChoiceItem> choice_item(const Json& columns) {
  ChoiceItem item;
  const Json& choices = columns["choices"];
  std::vector<std::string> labels;
  if (choices.is_object() && choices.contains("text")) {
    item.choices = TRY(texts(choices["text"], "choices"));
    if (choices.contains("label")) labels = TRY(texts(choices["label"], "choices' label"));
  } else {
    item.choices = TRY(texts(choices, "choices"));
  }
  for (const char* column : {"answer", "answerKey", "label"}) {
    if (!columns.contains(column)) continue;
    const Json& answer = columns[column];
    std::optional<size_t> place;
    if (answer.is_number_integer()) {
      const auto number = answer.get<int64_t>();
      if (number >= 0 && number < static_cast<int64_t>(item.choices.size())) place = static_cast<size_t>(number);
    } else if (answer.is_string()) {
      const std::string& name = answer.get_ref<const std::string&>();
      place = place_of(labels, name);
      if (!place) place = place_of(item.choices, name);
      if (!place) place = letter(name, item.choices.size());
    }
    if (!place || *place >= item.choices.size())
      return error("\"{}\" is {}, which is none of the {} choices: their numbers from 0, labels, texts or letters.",
                   column, answer.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80),
                   item.choices.size());
    item.right = *place;
    return item;
  }
  return error("expected the right choice in the column \"answer\" (or \"answerKey\", \"label\").");
}

Result<Task> choice_task(data::Rows rows) {
  for (data::Row& row : rows.rows) {
    auto columns = choice_row(std::move(row.columns));
    if (!columns) return error("[task] {}: {}", data::place(rows.name, row), columns.error().message);
    row.columns = std::move(*columns);
  }
  return Task{std::move(rows)};
}

Result<ChoiceSet> load_choices(const Task& task, const data::TextReader& reader, int64_t context_length) {
  ChoiceSet set;
  set.begin.push_back(0);
  for (const data::Row& row : task.rows.rows) {
    const auto fault = [&](const Error& e) {
      return error("[eval] {}: {}", data::place(task.rows.name, row), e.message);
    };
    auto item = choice_item(row.columns);
    if (!item) return fault(item.error());
    for (const std::string& choice : item->choices) {
      auto encoded = encode_choice(row.columns, choice, reader);
      if (!encoded) return fault(encoded.error());
      if (context_length > 0 && static_cast<int64_t>(encoded->ids.size()) > context_length)
        return fault(error("{} tokens of prompt and choice do not fit the context of {}. Shorten or drop the row.",
                           encoded->ids.size(), context_length));
      set.ids.push_back(std::move(encoded->ids));
      set.first.push_back(encoded->first);
    }
    set.items.push_back(std::move(*item));
    set.begin.push_back(set.ids.size());
  }
  return set;
}

Result<ChoiceResult> grade_choices(const Task& task, const ChoiceSet& set, std::span<const double> logprobs) {
  CHECK(logprobs.size() == set.ids.size());
  ChoiceResult result;
  result.task = task.rows.name;
  for (size_t i = 0; i < set.items.size(); ++i) {
    const ChoiceItem& item = set.items[i];
    const size_t begin = set.begin[i];
    ChosenItem chosen;
    chosen.right = item.right;
    chosen.logprobs.assign(logprobs.begin() + static_cast<std::ptrdiff_t>(begin),
                           logprobs.begin() + static_cast<std::ptrdiff_t>(set.begin[i + 1]));
    for (const double sum : chosen.logprobs)
      if (!std::isfinite(sum))
        return error("[eval] {}: the model gives a choice the log-probability {}.",
                     data::place(task.rows.name, task.rows.rows[i]), sum);
    chosen.by_sum = largest(chosen.logprobs, [](size_t) { return 1.0; });
    chosen.by_character =
        largest(chosen.logprobs, [&](size_t c) { return static_cast<double>(characters(item.choices[c])); });
    chosen.by_token = largest(chosen.logprobs, [&](size_t c) {
      return static_cast<double>(set.ids[begin + c].size() - set.first[begin + c]);
    });
    result.acc.correct += chosen.by_sum == chosen.right;
    result.acc_norm.correct += chosen.by_character == chosen.right;
    result.acc_per_token.correct += chosen.by_token == chosen.right;
    result.items.push_back(std::move(chosen));
  }
  for (Share* share : {&result.acc, &result.acc_norm, &result.acc_per_token}) finish(*share, result.items.size());
  return result;
}

Json to_json(const ChoiceResult& result) {
  return {{"task", result.task},
          {"items", result.items.size()},
          {"acc", share_json(result.acc)},
          {"acc_norm", share_json(result.acc_norm)},
          {"acc_per_token", share_json(result.acc_per_token)}};
}

std::string in_words(const Share& share, size_t items) {
  return fmt::format("{} of {} ({:.0f}%, 95% interval {:.0f} to {:.0f}%)", share.correct, items, 100 * share.value,
                     100 * share.interval.low, 100 * share.interval.high);
}

}  // namespace candor::eval
