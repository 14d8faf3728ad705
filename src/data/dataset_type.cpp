#include "data/dataset_type.h"

#include <algorithm>
#include <array>

#include "data/dialects.h"
#include "data/preference.h"
#include "data/sft.h"

namespace candor::data {
namespace {

using text::Json;

constexpr std::array<std::string_view, 7> kNames = {
    "tokens", "language_modeling", "prompt_only", "prompt_completion", "preference", "unpaired_preference", "alpaca"};
constexpr std::array<const char*, 8> kTextColumns = {"text",       "messages", "conversations", "prompt",
                                                     "completion", "chosen",   "rejected",      "instruction"};

}  // namespace

std::string_view name_of(DatasetType type) {
  return kNames[static_cast<size_t>(type)];
}

Result<DatasetType> dataset_type(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return error("type: expected one of {}, got \"{}\".", fmt::join(kNames, ", "), name);
  return static_cast<DatasetType>(found - kNames.begin());
}

std::optional<DatasetType> type_of(const Json& columns) {
  const auto has = [&](const char* name) { return columns.contains(name); };
  if (has("input_ids")) return DatasetType::kTokens;
  if (has("chosen") && has("rejected")) return DatasetType::kPreference;
  if (has("completion") && has("label")) return DatasetType::kUnpaired;
  if (has("prompt") && has("completion")) return DatasetType::kPromptCompletion;
  if (has("messages") || has("conversations") || has("text")) return DatasetType::kLanguageModeling;
  if (has("prompt")) return DatasetType::kPromptOnly;
  if (has("instruction") && has("output")) return DatasetType::kAlpaca;
  return std::nullopt;
}

Result<DatasetType> type_of(const Rows& rows) {
  std::array<int64_t, kNames.size()> counts = {};
  std::array<size_t, kNames.size()> first = {};
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    const auto type = type_of(rows.rows[i].columns);
    if (!type) continue;
    const auto index = static_cast<size_t>(*type);
    if (counts[index]++ == 0) first[index] = i;
  }
  size_t best = 0;
  for (size_t i = 1; i < counts.size(); ++i)
    if (counts[i] > counts[best] || (counts[i] == counts[best] && first[i] < first[best])) best = i;
  if (counts[best] == 0) {
    return error(
        "{}: no row is of a known type. The first has the columns {}; expected text, messages, prompt, completion, "
        "chosen, rejected, instruction with output, or input_ids.",
        rows.name, rows.rows.empty() ? "none" : column_names(rows.rows[0].columns));
  }
  return static_cast<DatasetType>(best);
}

std::string_view dialect_of(const Json& columns) {
  for (const char* name : kTextColumns) {
    if (!columns.contains(name) || !columns[name].is_array()) continue;
    return is_sharegpt(columns[name]) ? "sharegpt" : "conversational";
  }
  return "plain";
}

Result<int64_t> count_tokens(const Json& row, DatasetType type, const TextReader& reader) {
  switch (type) {
    case DatasetType::kPromptOnly: {
      const Json columns = in_messages_dialect(row);
      const Json prompt = columns.value("prompt", Json());
      if (prompt.is_array()) {
        const std::string text = TRY(rendered_text(reader, prompt, columns, "prompt", true));
        return static_cast<int64_t>(TRY(encode_rendered(reader, text)).size());
      }
      if (!prompt.is_string()) return error("\"prompt\" is neither text nor a conversation.");
      return static_cast<int64_t>(TRY(encode_plain(reader, prompt.get<std::string>())).size());
    }
    case DatasetType::kPreference: {
      const Preference both = TRY(read_preference(row, reader));
      return static_cast<int64_t>(both.prompt.size() + std::max(both.chosen.size(), both.rejected.size()));
    }
    case DatasetType::kAlpaca: {
      const Json converted = TRY(as_messages(row));
      return static_cast<int64_t>(TRY(read_sft_row(converted, reader, {})).ids.size());
    }
    default:
      return static_cast<int64_t>(TRY(read_sft_row(row, reader, {})).ids.size());
  }
}

}  // namespace candor::data
