#include "data/dialects.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "data/json_reader.h"
#include "data/text_reader.h"

namespace candor::data {
namespace {

using text::Json;

// The row with `replaced` instead of the columns `old`, in the place of the first of them.
Json with_columns(const Json& columns, const std::vector<std::string>& old, const Json& replaced) {
  Json row = Json::object();
  bool placed = false;
  for (const auto& [name, value] : columns.items()) {
    if (std::find(old.begin(), old.end(), name) == old.end()) {
      if (!replaced.contains(name)) row[name] = value;
      continue;
    }
    if (!placed) row.update(replaced);
    placed = true;
  }
  return row;
}

// The bytes that two texts have in common at their start, as extract_prompt counts characters.
size_t shared_text(const std::string& chosen, const std::string& rejected) {
  size_t at = 0, last = 0;  // `last`: where the character before `at` begins
  while (at < chosen.size() && at < rejected.size()) {
    const size_t length = utf8_length(std::string_view(chosen).substr(at));
    if (chosen.compare(at, length, rejected, at, length) != 0) return at > 0 && chosen[last] == ' ' ? last : at;
    last = at;
    at += length;
  }
  return last;  // one is the start of the other: its last character stays
}

size_t shared_messages(const Json& chosen, const Json& rejected) {
  const size_t most = std::min(chosen.size(), rejected.size());
  for (size_t i = 0; i < most; ++i)
    if (chosen[i] != rejected[i]) return i;
  return most - 1;
}

Json part(const Json& messages, size_t begin, size_t end) {
  Json some = Json::array();
  for (size_t i = begin; i < end; ++i) some.push_back(messages[i]);
  return some;
}

Result<Json> from_alpaca(const Json& columns) {
  for (const char* name : {"instruction", "input", "output", "system"}) {
    if (columns.contains(name) && !columns[name].is_string() && !columns[name].is_null())
      return error("\"{}\" is a {}, not text.", name, columns[name].type_name());
  }
  const auto text_of = [&](const char* name) {
    return columns.contains(name) && columns[name].is_string() ? columns[name].get<std::string>() : std::string();
  };
  Json messages = Json::array();
  if (!text_of("system").empty()) messages.push_back({{"role", "system"}, {"content", text_of("system")}});
  const std::string input = text_of("input").empty() ? "" : "\n\n" + text_of("input");
  messages.push_back({{"role", "user"}, {"content", text_of("instruction") + input}});
  messages.push_back({{"role", "assistant"}, {"content", text_of("output")}});
  return with_columns(columns, {"instruction", "input", "output", "system"}, {{"messages", messages}});
}

Result<Json> from_prompt_completion(const Json& columns) {
  const Json &prompt = columns["prompt"], &completion = columns["completion"];
  Json messages = Json::array();
  if (prompt.is_string() && completion.is_string()) {
    messages.push_back({{"role", "user"}, {"content", prompt}});
    messages.push_back({{"role", "assistant"}, {"content", completion}});
  } else if (prompt.is_array() && completion.is_array()) {
    messages = prompt;
    messages.insert(messages.end(), completion.begin(), completion.end());
  } else {
    return error("\"prompt\" is a {} and \"completion\" a {}. Expected two texts or two conversations.",
                 prompt.type_name(), completion.type_name());
  }
  return with_columns(columns, {"prompt", "completion"}, {{"messages", messages}});
}

}  // namespace

bool is_sharegpt(const Json& messages) {
  return messages.is_array() && !messages.empty() &&
         std::all_of(messages.begin(), messages.end(), [](const Json& message) {
           return message.is_object() && message.contains("from") && message["from"].is_string() &&
                  message.contains("value");
         });
}

Json from_sharegpt(const Json& messages) {
  Json translated = Json::array();
  for (const Json& message : messages) {
    Json role = message["from"];
    if (role == "human") role = "user";
    if (role == "gpt") role = "assistant";
    Json one = {{"role", role}, {"content", message["value"]}};
    for (const auto& [key, value] : message.items())
      if (key != "from" && key != "value") one[key] = value;
    translated.push_back(std::move(one));
  }
  return translated;
}

Json in_messages_dialect(Json columns) {
  for (const char* name : {"messages", "prompt", "completion", "chosen", "rejected"})
    if (columns.contains(name) && is_sharegpt(columns[name])) columns[name] = from_sharegpt(columns[name]);
  const auto conversations = columns.find("conversations");
  if (conversations == columns.end() || columns.contains("messages")) return columns;
  Json renamed = Json::object();
  for (const auto& [name, value] : columns.items()) {
    if (name == "conversations")
      renamed["messages"] = is_sharegpt(value) ? from_sharegpt(value) : value;
    else
      renamed[name] = value;
  }
  return renamed;
}

Result<Json> with_explicit_prompt(Json columns) {
  columns = in_messages_dialect(std::move(columns));
  if (!columns.contains("chosen") || !columns.contains("rejected"))
    return error("expected the columns chosen and rejected, got {}.", column_names(columns));
  const Json chosen = columns["chosen"], rejected = columns["rejected"];
  const bool text = chosen.is_string() && rejected.is_string();
  if (!text && !(chosen.is_array() && rejected.is_array())) {
    return error("\"chosen\" is a {} and \"rejected\" a {}. Expected two texts or two conversations.",
                 chosen.type_name(), rejected.type_name());
  }
  if (columns.contains("prompt") && columns["prompt"].is_array() == chosen.is_array()) return columns;
  for (const auto& [name, value] : {std::pair("chosen", &chosen), {"rejected", &rejected}}) {
    if (text ? value->get_ref<const std::string&>().empty() : value->empty())
      return error("\"{}\" is empty, so that no prompt can be taken from it.", name);
  }
  Json parts;
  if (text) {
    const std::string yes = chosen, no = rejected;
    const size_t shared = shared_text(yes, no);
    parts = {{"prompt", yes.substr(0, shared)}, {"chosen", yes.substr(shared)}, {"rejected", no.substr(shared)}};
  } else {
    const size_t shared = shared_messages(chosen, rejected);
    parts = {{"prompt", part(chosen, 0, shared)},
             {"chosen", part(chosen, shared, chosen.size())},
             {"rejected", part(rejected, shared, rejected.size())}};
  }
  return with_columns(columns, {"prompt", "chosen", "rejected"}, parts);
}

Result<Json> as_messages(Json columns) {
  columns = in_messages_dialect(std::move(columns));
  if (columns.contains("messages")) return columns;
  if (columns.contains("prompt") && columns.contains("completion")) return from_prompt_completion(columns);
  if (columns.contains("instruction") && columns.contains("output")) return from_alpaca(columns);
  return error("expected messages, conversations, prompt and completion, or instruction and output, got {}.",
               column_names(columns));
}

Result<Json> as_prompt_completion(Json columns) {
  columns = in_messages_dialect(std::move(columns));
  if (columns.contains("prompt") && columns.contains("completion")) return columns;
  columns = TRY(as_messages(std::move(columns)));
  const Json messages = columns["messages"];
  const bool ends = messages.is_array() && messages.size() >= 2 && messages.back().is_object() &&
                    messages.back().value("role", Json()) == "assistant";
  if (!ends) return error("\"messages\" does not end with a message of the assistant after at least one other.");
  return with_columns(columns, {"messages"},
                      {{"prompt", part(messages, 0, messages.size() - 1)},
                       {"completion", part(messages, messages.size() - 1, messages.size())}});
}

Result<std::vector<Json>> as_unpaired(Json columns) {
  columns = TRY(with_explicit_prompt(std::move(columns)));
  std::vector<Json> rows;
  for (const char* name : {"chosen", "rejected"}) {
    const Json parts = {
        {"prompt", columns["prompt"]}, {"completion", columns[name]}, {"label", name == std::string("chosen")}};
    rows.push_back(with_columns(columns, {"prompt", "chosen", "rejected"}, parts));
  }
  return rows;
}

}  // namespace candor::data
