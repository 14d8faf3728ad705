#include "data/sequences.h"

#include <algorithm>
#include <limits>

namespace candor::data {

namespace {

using text::Json;

// Tokens that two id lists have in common at their start.
size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first -
                             a.begin());
}

Sequence everything_counts(std::vector<int32_t> ids) {
  Sequence sequence{std::move(ids), {}};
  sequence.mask.assign(sequence.ids.size(), 1);
  sequence.mask[0] = 0;  // nothing predicts the first token
  return sequence;
}

Result<Sequence> from_ids(const Json& ids, std::string_view where) {
  Sequence sequence;
  if (!ids.is_array() || ids.empty()) return error("[{}] input_ids: expected a list of at least one token id.", where);
  std::vector<int32_t> values;
  for (const Json& id : ids) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > std::numeric_limits<int32_t>::max())
      return error("[{}] input_ids: expected token ids from 0, got {}.", where, id.dump());
    values.push_back(id.get<int32_t>());
  }
  return everything_counts(std::move(values));
}

Result<std::vector<int32_t>> encode(const TextReader& reader, std::string_view text, bool special,
                                    std::string_view where) {
  auto ids = reader.tokenizer.encode(text, {.add_special_tokens = special});
  if (!ids) return error("[{}] {}", where, ids.error().message);
  if (ids->empty()) return error("[{}] the text has no tokens.", where);
  return ids;
}

Result<std::string> text_column(const Json& row, const char* name, std::string_view where) {
  if (!row.contains(name) || !row[name].is_string())
    return error("[{}] {}: expected text, got {}.", where, name,
                 row.contains(name) ? row[name].type_name() : "nothing");
  return row[name].get<std::string>();
}

Error no_template(std::string_view where) {
  return error("[{}] messages need a chat template, which this model does not have. Give `text` instead.", where);
}

Result<text::Rendered> render(const TextReader& reader, const Json& messages, bool generation_prompt,
                              std::string_view where) {
  text::RenderOptions options;
  options.add_generation_prompt = generation_prompt;
  options.extra = reader.special_tokens;
  auto rendered = reader.chat_template->render(messages, options);
  if (!rendered) return error("[{}] {}", where, rendered.error().message);
  return rendered;
}

// Counts what comes after the tokens that `prompt` alone and `whole` have in common.
Result<Sequence> completion_counts(const TextReader& reader, const std::string& prompt, const std::string& whole,
                                   bool special, std::string_view where) {
  Sequence sequence {
    TRY(encode(reader, whole, special, where))
    , {}
  };
  const size_t shared = prompt.empty() ? 0 : common_prefix(TRY(encode(reader, prompt, special, where)), sequence.ids);
  for (size_t i = 0; i < sequence.ids.size(); ++i) sequence.mask.push_back(i >= std::max<size_t>(shared, 1) ? 1 : 0);
  return sequence;
}

Result<Sequence> from_prompt_completion(const Json& row, const TextReader& reader, std::string_view where) {
  if (row.contains("prompt") && row["prompt"].is_array() && row["completion"].is_array()) {
    if (reader.chat_template == nullptr) return no_template(where);
    Json messages = row["prompt"];
    const std::string prompt = TRY(render(reader, messages, true, where))
    .text;
    messages.insert(messages.end(), row["completion"].begin(), row["completion"].end());
    return completion_counts(reader, prompt, TRY(render(reader, messages, false, where)).text, false, where);
  }
  const std::string prompt = TRY(text_column(row, "prompt", where));
  return completion_counts(reader, prompt, prompt + TRY(text_column(row, "completion", where)), true, where);
}

// Byte ranges of the assistant's turns in the rendered text.
Result<std::vector<std::pair<size_t, size_t>>> assistant_spans(const TextReader& reader, const Json& messages,
                                                               const text::Rendered& whole, std::string_view where) {
  if (!whole.assistant_spans.empty()) return whole.assistant_spans;
  std::vector<std::pair<size_t, size_t>> spans;
  Json before = Json::array();
  for (const Json& message : messages) {
    if (!before.empty() && message.value("role", "") == "assistant") {
      const std::string prefix = TRY(render(reader, before, true, where))
      .text;
      before.push_back(message);
      const std::string through = TRY(render(reader, before, false, where))
      .text;
      if (through.starts_with(prefix) && whole.text.starts_with(through))
        spans.emplace_back(prefix.size(), through.size());
      continue;
    }
    before.push_back(message);
  }
  return spans;
}

Result<Sequence> from_messages(const Json& messages, const TextReader& reader, std::string_view where) {
  if (!messages.is_array() || messages.empty()) return error("[{}] messages: expected a list of chat messages.", where);
  if (reader.chat_template == nullptr) return no_template(where);
  const text::Rendered whole = TRY(render(reader, messages, false, where));
  Sequence sequence {
    TRY(encode(reader, whole.text, false, where))
    , {}
  };
  sequence.mask.assign(sequence.ids.size(), 0);
  for (const auto& [begin, end] : TRY(assistant_spans(reader, messages, whole, where))) {
    const size_t first = common_prefix(TRY(encode(reader, whole.text.substr(0, begin), false, where)), sequence.ids);
    const size_t last = common_prefix(TRY(encode(reader, whole.text.substr(0, end), false, where)), sequence.ids);
    for (size_t i = std::max<size_t>(first, 1); i < last; ++i) sequence.mask[i] = 1;
  }
  return sequence;
}

}  // namespace

Result<Sequence> read_sequence(const Json& row, const TextReader& reader, std::string_view where) {
  if (row.contains("input_ids")) return from_ids(row["input_ids"], where);
  if (row.contains("messages")) return from_messages(row["messages"], reader, where);
  if (row.contains("completion")) return from_prompt_completion(row, reader, where);
  if (row.contains("text"))
    return everything_counts(TRY(encode(reader, TRY(text_column(row, "text", where)), true, where)));
  return error("[{}] expected input_ids, text, prompt with completion, or messages, got the columns {}.", where, [&] {
    std::string names;
    for (const auto& [name, value] : row.items()) names += (names.empty() ? "" : ", ") + name;
    return names.empty() ? std::string("none") : names;
  }());
}

}  // namespace candor::data
