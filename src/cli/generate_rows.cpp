#include "cli/generate_rows.h"

#include <algorithm>

namespace candor::cli {

namespace {

Result<data::Prompt> ready_ids(data::Row row, const Session& session, int64_t room, const std::string& where) {
  data::Prompt prompt;
  const text::Json& ids = row.columns["input_ids"];
  if (!ids.is_array() || ids.empty()) return error("[{}] input_ids: expected a list of at least one token id.", where);
  for (const text::Json& id : ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= session.files.config.vocab_size)
      return error("[{}] input_ids: expected token ids below {}, got {}.", where, session.files.config.vocab_size,
                   id.dump());
    prompt.ids.push_back(id.get<int32_t>());
  }
  const int64_t tokens = static_cast<int64_t>(prompt.ids.size()), context = session.files.config.max_positions;
  if (tokens > context - room)
    return error(
        "[{}] {} tokens and max_new_tokens {} do not fit the model's context of {}. Shorten the row or lower "
        "--max_new_tokens.",
        where, tokens, room, context);
  prompt.text = session.tokenizer().decode(prompt.ids, {});
  prompt.row = std::move(row);
  return prompt;
}

}  // namespace

Result<std::vector<GeneratePrompt>> generate_prompts(data::Rows rows, const Session& session,
                                                     const Sampling& sampling) {
  // A length that nobody asked for gives way to a long prompt.
  const int64_t room = sampling.length_is_asked_for ? sampling.options.max_new_tokens : 1;
  const int64_t context = session.files.config.max_positions;
  const data::PromptOptions options{"generate", context, room};
  std::vector<GeneratePrompt> prompts;
  for (data::Row& row : rows.rows) {
    GeneratePrompt one;
    if (row.columns.contains("input_ids")) {
      const std::string where = data::place(rows.name, row);
      one.prompt = TRY(ready_ids(std::move(row), session, room, where));
    } else {
      for (const char* name : {"messages", "text"})
        if (!row.columns.contains("prompt") && row.columns.contains(name)) row.columns["prompt"] = row.columns[name];
      data::Rows alone{rows.name, {std::move(row)}};
      auto loaded = TRY(data::load_prompts(std::move(alone), session.tokenizer(), session.chat_template(),
                                           session.files.special_tokens, options));
      one.prompt = std::move(loaded.prompts.front());
    }
    one.max_new_tokens =
        std::max<int64_t>(1, sampling.new_tokens(static_cast<int64_t>(one.prompt.ids.size()), context));
    prompts.push_back(std::move(one));
  }
  return prompts;
}

}  // namespace candor::cli
