// candor tokenize MODEL ROWS: text and messages as token ids, and back.
#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "data/rows.h"
#include "files/model_files.h"

namespace candor::cli {
namespace {

using files::ModelFiles;
using text::Json;

struct TokenizeOptions {
  ModelOptions model;
  std::string rows;
  bool decode = false;
};

Result<bool> bool_column(const Json& row, const char* name, std::string_view where) {
  if (!row.contains(name)) return false;
  if (!row[name].is_boolean())
    return error("[{}] {}: expected true or false, got {}.", where, name, row[name].type_name());
  return row[name].get<bool>();
}

Result<std::string> rendered(const Json& row, const ModelFiles& files, std::string_view where) {
  if (!files.chat_template)
    return error("[{}] messages need a chat template, and {} has none. Give text instead.", where, files.path.string());
  text::RenderOptions options;
  options.add_generation_prompt = TRY(bool_column(row, "add_generation_prompt", where));
  options.continue_final_message = TRY(bool_column(row, "continue_final_message", where));
  if (row.contains("tools")) options.tools = row["tools"];
  if (row.contains("documents")) options.documents = row["documents"];
  options.extra = files.special_tokens;
  if (row.contains("chat_template_kwargs")) {
    if (!row["chat_template_kwargs"].is_object())
      return error("[{}] chat_template_kwargs: expected an object, got {}.", where,
                   row["chat_template_kwargs"].type_name());
    options.extra.update(row["chat_template_kwargs"]);
  }
  auto rendered = files.chat_template->render(row["messages"], options);
  if (!rendered) return error("[{}] {}", where, rendered.error().message);
  return std::move(rendered->text);
}

// {"text"} or {"messages", "add_generation_prompt"} -> {"input_ids", "text"}. A rendered conversation has its special
// tokens already; a text gets those that the tokenizer adds.
Result<Json> encoded_row(const Json& row, const ModelFiles& files, std::string_view where) {
  const bool messages = row.contains("messages");
  if (!messages && !(row.contains("text") && row["text"].is_string()))
    return error("[{}] expected a column text or messages (with --decode: input_ids).", where);
  const std::string text = messages ? TRY(rendered(row, files, where)) : row["text"].get<std::string>();
  const auto ids = files.tokenizer->encode(text, {.add_special_tokens = !messages});
  if (!ids) return error("[{}] {}", where, ids.error().message);
  return Json{{"input_ids", *ids}, {"text", text}};
}

// {"input_ids"} -> {"input_ids", "text"}
Result<Json> decoded_row(const Json& row, const ModelFiles& files, std::string_view where) {
  if (!row.contains("input_ids") || !row["input_ids"].is_array())
    return error("[{}] expected a column input_ids: a list of token ids.", where);
  std::vector<int32_t> ids;
  for (const Json& id : row["input_ids"]) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= files.tokenizer->size())
      return error("[{}] input_ids: expected token ids from 0 to {}, got {}.", where, files.tokenizer->size() - 1,
                   one_line(id.dump(), 40));
    ids.push_back(id.get<int32_t>());
  }
  const std::string text = files.tokenizer->decode(ids, {});
  return Json{{"input_ids", std::move(ids)}, {"text", text}};
}

Result<void> run_tokenize(const TokenizeOptions& options) {
  const ModelFiles files = TRY(files::open_model(TRY(files::resolve_model(options.model.model))));
  if (!files.tokenizer) return error("[tokenize] {} has no tokenizer.", files.path.string());
  const data::Rows rows = TRY(data::read_rows(options.rows));
  for (const data::Row& row : rows.rows) {
    const std::string where = data::place(rows.name, row);
    const Json out =
        TRY(options.decode ? decoded_row(row.columns, files, where) : encoded_row(row.columns, files, where));
    fmt::print("{}\n", out.dump());
  }
  return {};
}

}  // namespace

int tokenize(const Words& words) {
  Options options("tokenize", "Prints the token ids of each row, with the text they stand for, as JSON lines.");
  TokenizeOptions tokenize;
  tokenize.model.add_model(options.app);
  options.app
      .add_option("ROWS", tokenize.rows,
                  "JSON lines with text or messages (and add_generation_prompt); - reads standard input")
      ->required();
  options.app.add_flag("--decode", tokenize.decode, "rows hold input_ids; print their text");
  if (const auto over = options.parse(words)) return *over;
  const auto done = run_tokenize(tokenize);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
