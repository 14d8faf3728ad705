#include "data/distillation.h"

#include <fmt/format.h>

#include "data/dialects.h"

namespace candor::data {

Result<Rows> completion_rows(Rows rows, std::string_view where) {
  for (Row& row : rows.rows) {
    row.columns = in_messages_dialect(std::move(row.columns));
    if (!row.columns.contains("messages") || row.columns.contains("completion")) continue;
    auto columns = as_prompt_completion(row.columns);
    if (!columns) return error("[{}] {}: {}", where, place(rows.name, row), columns.error().message);
    row.columns = std::move(*columns);
  }
  return rows;
}

Result<Rows> with_teacher_prompt(Rows rows, std::string_view text, std::string_view where) {
  for (Row& row : rows.rows) {
    const auto prompt = row.columns.find("prompt");
    if (prompt == row.columns.end() || !(prompt->is_string() || prompt->is_array()))
      return error(
          "[{}] {}: the teacher's prompt goes before the row's own, and this row has none. Give a column \"prompt\" "
          "with \"completion\", or \"messages\".",
          where, place(rows.name, row));
    if (prompt->is_string()) {
      *prompt = fmt::format("{}{}", text, prompt->get<std::string>());
      continue;
    }
    text::Json* first = prompt->empty() ? nullptr : &prompt->front();
    const bool has_system = first != nullptr && first->is_object() && first->value("role", text::Json()) == "system" &&
                            first->contains("content") && (*first)["content"].is_string();
    if (has_system)
      (*first)["content"] = fmt::format("{}\n\n{}", text, (*first)["content"].get<std::string>());
    else
      prompt->insert(prompt->begin(), text::Json{{"role", "system"}, {"content", text}});
  }
  return rows;
}

}  // namespace candor::data
