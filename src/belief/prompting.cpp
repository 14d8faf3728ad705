#include "belief/prompting.h"

#include <algorithm>

#include "base/check.h"
#include "belief/questions.h"

namespace candor::belief {

namespace {

using text::Json;

std::string plain_text(std::span<const Turn> turns) {
  std::string text;
  for (const Turn& turn : turns) {
    if (turn.role == "system")
      text += fmt::format("{}\n\n", turn.content);
    else if (turn.role == "user")
      text += fmt::format("Question: {}\nAnswer:", turn.content);
    else
      text += fmt::format(" {}\n", turn.content);
  }
  return text;
}

Json messages_of(std::span<const Turn> turns) {
  Json messages = Json::array();
  for (const Turn& turn : turns) messages.push_back({{"role", turn.role}, {"content", turn.content}});
  return messages;
}

bool begins_with(const std::vector<int32_t>& ids, const std::vector<int32_t>& start) {
  return start.size() <= ids.size() && std::equal(start.begin(), start.end(), ids.begin());
}

std::string_view without_spaces(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string_view::npos ? "" : text.substr(first, text.find_last_not_of(' ') + 1 - first);
}

}  // namespace

Result<std::vector<int32_t>> prompt_ids(const data::TextReader& reader, std::span<const Turn> turns) {
  CHECK(!turns.empty() && turns.back().role == "user");
  if (reader.chat_template == nullptr) return data::encode_plain(reader, plain_text(turns));
  auto rendered = data::rendered_text(reader, messages_of(turns), Json::object(), "question", true);
  if (!rendered && turns.front().role == "system" && turns.size() > 1) {
    std::vector<Turn> joined(turns.begin() + 1, turns.end());
    joined.front().content = fmt::format("{}\n\n{}", turns.front().content, joined.front().content);
    rendered = data::rendered_text(reader, messages_of(joined), Json::object(), "question", true);
  }
  return data::encode_rendered(reader, TRY(std::move(rendered)));
}

Result<std::vector<int32_t>> answer_ids(const data::TextReader& reader, std::string_view sentence) {
  const std::string text = reader.chat_template == nullptr ? fmt::format(" {}", sentence) : std::string(sentence);
  return data::encode_rendered(reader, text);
}

Result<std::vector<std::vector<int32_t>>> spelling_ids(const data::TextReader& reader, std::string_view answer) {
  std::vector<std::vector<int32_t>> all;
  for (const std::string& spelling : spellings(answer)) {
    const auto ids = reader.tokenizer.encode(spelling, {.parse_special_tokens = false});
    if (!ids || ids->empty()) continue;
    if (without_spaces(reader.tokenizer.decode(*ids, {})) != without_spaces(spelling)) continue;  // unknown to it
    all.push_back(*ids);
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  std::vector<std::vector<int32_t>> kept;
  for (const std::vector<int32_t>& ids : all)
    if (std::none_of(kept.begin(), kept.end(), [&](const auto& start) { return begins_with(ids, start); }))
      kept.push_back(ids);
  if (kept.empty())
    return error("[audit] the model's tokenizer has no tokens for the answer \"{}\", so the model cannot be asked.",
                 answer);
  return kept;
}

}  // namespace candor::belief
