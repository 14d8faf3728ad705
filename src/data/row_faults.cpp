// What is wrong with a row; row_faults of dataset_type.h.
#include <algorithm>
#include <array>
#include <string>

#include "data/dataset_type.h"
#include "data/dialects.h"
#include "data/row_checks.h"

namespace candor::data {
namespace {

using text::Json;
using Faults = std::vector<std::string>;

constexpr std::array<std::string_view, 10> kRoles = {
    "system", "developer", "user", "assistant", "tool", "model", "function", "environment", "ipython", "tool_response"};

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// Some text, or parts of which one holds some, or a call of a tool.
bool says_something(const Json& message) {
  if (message.contains("tool_calls") && !message["tool_calls"].empty()) return true;
  const Json content = message.value("content", Json());
  if (content.is_string()) return !is_blank(content.get<std::string>());
  return content.is_array() && !content.empty();
}

void check_message(const Json& message, const std::string& where, Faults& faults) {
  if (!message.is_object()) {
    faults.push_back(fmt::format("{} is a {}, not an object.", where, message.type_name()));
    return;
  }
  const Json role = message.value("role", Json()), content = message.value("content", Json());
  if (!role.is_string()) {
    faults.push_back(fmt::format("{} has no \"role\".", where));
  } else if (std::find(kRoles.begin(), kRoles.end(), role.get<std::string>()) == kRoles.end()) {
    faults.push_back(fmt::format("{} has the role \"{}\"; expected one of {}.", where, role.get<std::string>(),
                                 fmt::join(kRoles, ", ")));
  }
  if (!content.is_null() && !content.is_string() && !content.is_array())
    faults.push_back(fmt::format("{}: \"content\" is a {}, not text.", where, content.type_name()));
  else if (!says_something(message))
    faults.push_back(fmt::format("{} is empty.", where));
}

void check_messages(const Json& messages, const std::string& column, bool needs_assistant, Faults& faults) {
  if (messages.empty()) {
    faults.push_back(fmt::format("\"{}\" holds no message.", column));
    return;
  }
  bool assistant = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    check_message(messages[i], fmt::format("message {} of \"{}\"", i + 1, column), faults);
    assistant = assistant || (messages[i].is_object() && messages[i].value("role", Json()) == "assistant");
  }
  if (needs_assistant && !assistant) faults.push_back(fmt::format("\"{}\" holds no message of the assistant.", column));
}

// A column of text or messages.
void check_words(const Json& columns, const std::string& column, bool needs_assistant, Faults& faults) {
  if (!columns.contains(column)) {
    faults.push_back(fmt::format("there is no column \"{}\"; the row has {}.", column, column_names(columns)));
    return;
  }
  const Json& value = columns[column];
  if (value.is_array())
    check_messages(value, column, needs_assistant, faults);
  else if (!value.is_string())
    faults.push_back(fmt::format("\"{}\" is a {}. Expected text or a list of messages.", column, value.type_name()));
  else if (is_blank(value.get<std::string>()))
    faults.push_back(fmt::format("\"{}\" is empty.", column));
}

// `prompt` and what answers it are both text or both messages. An empty text before a completion is well.
void check_prompt_and(const Json& columns, const std::vector<std::string>& answers, Faults& faults) {
  if (!columns.contains("prompt") || !columns["prompt"].is_string()) check_words(columns, "prompt", false, faults);
  for (const std::string& column : answers) {
    check_words(columns, column, true, faults);
    if (!columns.contains("prompt") || !columns.contains(column)) continue;
    if (columns["prompt"].is_array() != columns[column].is_array())
      faults.push_back(fmt::format("of \"prompt\" and \"{}\" one is text and the other a conversation.", column));
  }
}

void check_preference(const Json& columns, Faults& faults) {
  const bool has_prompt = columns.contains("prompt") && columns.contains("chosen") &&
                          columns["prompt"].is_array() == columns["chosen"].is_array();
  if (has_prompt) {
    check_prompt_and(columns, {"chosen", "rejected"}, faults);
  } else {
    for (const char* column : {"chosen", "rejected"}) check_words(columns, column, true, faults);
  }
  if (columns.contains("chosen") && columns.contains("rejected") && columns["chosen"] == columns["rejected"])
    faults.push_back("\"chosen\" and \"rejected\" are the same.");
}

void check_alpaca(const Json& columns, Faults& faults) {
  for (const char* column : {"instruction", "output"}) check_words(columns, column, false, faults);
}

}  // namespace

std::vector<std::string> row_faults(const Json& row, DatasetType type) {
  const Json columns = in_messages_dialect(row);
  Faults faults;
  switch (type) {
    case DatasetType::kTokens:
      if (!columns.contains("input_ids") || !columns["input_ids"].is_array() || columns["input_ids"].empty())
        faults.push_back("\"input_ids\" is no list of token ids.");
      break;
    case DatasetType::kLanguageModeling:
      check_words(columns, columns.contains("messages") ? "messages" : "text", true, faults);
      break;
    case DatasetType::kPromptOnly:
      check_words(columns, "prompt", false, faults);
      break;
    case DatasetType::kPromptCompletion:
      check_prompt_and(columns, {"completion"}, faults);
      break;
    case DatasetType::kPreference:
      check_preference(columns, faults);
      break;
    case DatasetType::kUnpaired:
      check_prompt_and(columns, {"completion"}, faults);
      if (!columns.contains("label") || !columns["label"].is_boolean())
        faults.push_back("\"label\" is not true or false.");
      break;
    case DatasetType::kAlpaca:
      check_alpaca(columns, faults);
      break;
  }
  if (const std::string fault = text_fault(columns); !fault.empty()) faults.push_back(fault);
  return faults;
}

}  // namespace candor::data
