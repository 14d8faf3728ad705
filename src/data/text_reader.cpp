#include "data/text_reader.h"

#include <algorithm>

#include "data/json_reader.h"

namespace candor::data {
namespace {

using text::Json;

// What is wrong with a conversation, or nothing.
std::string message_fault(const Json& messages, std::string_view column) {
  if (!messages.is_array()) return fmt::format("\"{}\" is a {}, not a conversation", column, messages.type_name());
  if (messages.empty()) return fmt::format("\"{}\" holds no message", column);
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    if (!message.is_object())
      return fmt::format("message {} of \"{}\" is a {}, not an object", i + 1, column, message.type_name());
    if (!message.contains("role") || !message["role"].is_string())
      return fmt::format("message {} of \"{}\" has no \"role\"", i + 1, column);
  }
  return "";
}

Result<Json> tools_of(const Json& tools) {
  if (tools.is_array() || tools.is_null()) return tools;
  if (!tools.is_string()) return error("\"tools\" is a {}, not a list.", tools.type_name());
  const std::string& source = tools.get_ref<const std::string&>();
  JsonReader json(source);
  auto list = json.value();
  if (!list) return error("\"tools\" is text that is no JSON: {}.", list.error().message);
  if (!list->is_array() || !json.at_end()) return error("\"tools\" is text that holds no JSON list.");
  return list;
}

Result<std::vector<int32_t>> encode(const TextReader& reader, std::string_view text, bool add_special_tokens) {
  auto ids = TRY(reader.tokenizer.encode(text, {.add_special_tokens = add_special_tokens}));
  if (ids.empty()) return error("the text has no tokens.");
  return ids;
}

}  // namespace

Result<std::vector<int32_t>> encode_plain(const TextReader& reader, std::string_view text) {
  return encode(reader, text, true);
}

Result<std::vector<int32_t>> encode_rendered(const TextReader& reader, std::string_view text) {
  return encode(reader, text, false);
}

Result<std::string> end_of_sequence(const TextReader& reader) {
  const auto end = reader.special_tokens.find("eos_token");
  if (end == reader.special_tokens.end() || !end->is_string()) {
    return error(
        "plain text must end with the end-of-sequence token, and the model's tokenizer names none. Name it as "
        "eos_token, or give conversations.");
  }
  return end->get<std::string>();
}

Result<text::Rendered> render_messages(const TextReader& reader, const Json& messages, const Json& columns,
                                       std::string_view column, bool add_generation_prompt) {
  if (const std::string fault = message_fault(messages, column); !fault.empty())
    return error("{}. Expected a list of {{\"role\": …, \"content\": …}}.", fault);
  if (reader.chat_template == nullptr) {
    return error("\"{}\" is a conversation, but the model has no chat template. Use an instruct model or plain text.",
                 column);
  }
  text::RenderOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.extra = reader.special_tokens;
  if (const auto kwargs = columns.find("chat_template_kwargs"); kwargs != columns.end() && !kwargs->is_null()) {
    if (!kwargs->is_object()) return error("\"chat_template_kwargs\" is a {}, not an object.", kwargs->type_name());
    options.extra.update(*kwargs);
  }
  if (const auto tools = columns.find("tools"); tools != columns.end()) options.tools = TRY(tools_of(*tools));
  return reader.chat_template->render(messages, options);
}

Result<std::string> rendered_text(const TextReader& reader, const Json& messages, const Json& columns,
                                  std::string_view column, bool add_generation_prompt) {
  text::Rendered rendered = TRY(render_messages(reader, messages, columns, column, add_generation_prompt));
  return std::move(rendered.text);
}

size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const auto end = a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<size_t>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

std::string column_names(const Json& columns) {
  std::string names;
  for (const auto& [name, value] : columns.items()) {
    if (names.size() > 200) return names + ", …";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace candor::data
