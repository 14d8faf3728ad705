#include "data/dialects.h"

#include <algorithm>

namespace candor::data {

using text::Json;

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

}  // namespace candor::data
