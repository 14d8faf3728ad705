// A table of one's own: one row a sub-question, the proposition's columns in the first row of its id.
#include <map>

#include "belief/convert.h"
#include "belief/convert_columns.h"

namespace candor::belief {
namespace {

using text::Json;

// Whether a row says something in the column: null and "" are nothing.
bool says(const data::Row& row, const std::string& name) {
  const auto found = row.columns.find(name);
  return found != row.columns.end() && !found->is_null() && *found != "";
}

// The row of a proposition file that the first row of an id begins; propositions.cpp knows the rest of the rules.
Result<Json> begun(const data::Rows& rows, const data::Row& row) {
  Json made = Json::object();
  for (const char* name : {"id", "topic", "statement", "negation", "answer"})
    made[name] = TRY(text_column(rows, row, name));
  made["paraphrases"] = Json::array();
  for (int i = 1; says(row, fmt::format("paraphrase_{}", i)); ++i)
    made["paraphrases"].push_back(row.columns[fmt::format("paraphrase_{}", i)]);
  if (says(row, "label")) made["label"] = TRY(label_column(rows, row, "label"));
  made["questions"] = Json::array();
  return made;
}

Result<Json> question_of(const data::Rows& rows, const data::Row& row) {
  Json made = {{"kind", TRY(text_column(rows, row, "kind"))}, {"question", TRY(text_column(rows, row, "question"))}};
  const bool has_options = says(row, "option_a") || says(row, "option_b");
  if (has_options) {
    made["options"].push_back(TRY(text_column(rows, row, "option_a")));
    made["options"].push_back(TRY(text_column(rows, row, "option_b")));
  }
  const std::string if_true = TRY(text_column(rows, row, "if_true"));
  const char* const first = has_options ? "A" : "yes";
  const char* const second = has_options ? "B" : "no";
  if (if_true != first && if_true != second)
    return error("[propositions] {}: \"if_true\" is \"{}\". Expected \"{}\" or \"{}\".", data::place(rows.name, row),
                 if_true, first, second);
  made["if_true"] = if_true;
  made["if_false"] = if_true == first ? second : first;
  return made;
}

}  // namespace

Result<Converted> convert_table(const data::Rows& rows, const ConvertOptions& options) {
  data::Rows made{rows.name, {}};
  std::map<std::string, size_t> places;
  for (const data::Row& row : rows.rows) {
    const std::string id = TRY(text_column(rows, row, "id"));
    const auto [place, is_new] = places.emplace(id, made.rows.size());
    if (is_new)
      made.rows.push_back({
        TRY(begun(rows, row))
        , row.number, row.line
      });
    if (says(row, "question")) made.rows[place->second].columns["questions"].push_back(TRY(question_of(rows, row)));
  }
  Converted converted;
  converted.items = TRY(parse_propositions(made))
  .items;
  if (static_cast<int64_t>(converted.items.size()) > options.most)
    converted.items.resize(static_cast<size_t>(options.most));
  for (size_t i = 0; i < converted.items.size(); ++i) converted.items[i].number = static_cast<int64_t>(i) + 1;
  return converted;
}

}  // namespace candor::belief
