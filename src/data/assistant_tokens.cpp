#include "data/assistant_tokens.h"

#include <algorithm>
#include <string>

namespace candor::data {
namespace {

using text::Json;
using Ranges = std::vector<std::pair<size_t, size_t>>;

Error cannot_tell_apart(size_t message, std::string_view column) {
  return error(
      "the chat template renders message {} of \"{}\" differently when the conversation goes on, so the assistant's "
      "tokens cannot be told apart. Use a template with {{% generation %}} marks, or rows of prompt and completion.",
      message + 1, column);
}

// Where the turn of the last of `through` begins when the text after the generation prompt is not it: where its content
// stands, after the text of the messages before it.
Result<size_t> find_content(const TextReader& reader, const Json& before, const Json& message, const Json& columns,
                            std::string_view column, const std::string& through, size_t number) {
  const auto content = message.find("content");
  if (content == message.end() || !content->is_string()) return cannot_tell_apart(number, column);
  std::string words = content->get<std::string>();
  while (!words.empty() && std::string_view(" \t\r\n").find(words.back()) != std::string_view::npos) words.pop_back();
  words.erase(0, std::min(words.find_first_not_of(" \t\r\n"), words.size()));
  size_t first = 0;
  if (!before.empty()) {
    const std::string text = TRY(rendered_text(reader, before, columns, column, false));
    if (!through.starts_with(text)) return cannot_tell_apart(number, column);
    first = text.size();
  }
  // Before a first message the template may write a system message of its own: hence the last place, not the first.
  const size_t found = before.empty() ? through.rfind(words) : through.find(words, first);
  if (words.empty() || found == std::string::npos) return cannot_tell_apart(number, column);
  return found;
}

// The assistant's turns in a text whose template marks none.
Result<Ranges> derive_turns(const TextReader& reader, const Json& messages, const Json& columns,
                            std::string_view column, const std::string& whole) {
  Ranges turns;
  Json before = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    if (message["role"] != "assistant") {
      before.push_back(message);
      continue;
    }
    const std::string prompt = before.empty() ? "" : TRY(rendered_text(reader, before, columns, column, true));
    Json until = before;
    until.push_back(message);
    const std::string through = TRY(rendered_text(reader, until, columns, column, false));
    if (!whole.starts_with(through)) return cannot_tell_apart(i, column);
    const bool follows = !prompt.empty() && through.starts_with(prompt);
    const size_t begin =
        follows ? prompt.size() : TRY(find_content(reader, before, message, columns, column, through, i));
    turns.emplace_back(begin, through.size());
    before = std::move(until);
  }
  return turns;
}

// The byte range of each token, where the pieces that decoding gives out are the text itself. A character of several
// tokens belongs to each of them.
std::vector<std::pair<size_t, size_t>> token_ranges(const text::Tokenizer& tokenizer, std::string_view text,
                                                    const std::vector<int32_t>& ids) {
  Ranges ranges;
  text::StreamDecoder decoder(tokenizer, {});
  size_t at = 0;
  for (const int32_t id : ids) {
    const std::string piece = decoder.push(id);
    if (text.substr(at, piece.size()) != piece) return {};
    ranges.emplace_back(at, at + std::max<size_t>(piece.size(), 1));
    at += piece.size();
  }
  return at == text.size() ? ranges : Ranges();
}

}  // namespace

Result<std::vector<uint8_t>> tokens_in_ranges(const text::Tokenizer& tokenizer, std::string_view text,
                                              const std::vector<int32_t>& ids, const Ranges& ranges) {
  std::vector<uint8_t> mask(ids.size(), 0);
  const Ranges tokens = token_ranges(tokenizer, text, ids);
  for (const auto& [begin, end] : ranges) {
    if (!tokens.empty()) {
      for (size_t i = 0; i < ids.size(); ++i) {
        if (tokens[i].first < end && begin < tokens[i].second) mask[i] = 1;
      }
      continue;
    }
    // A tokenizer that does not give its text back (it normalizes): a range ends where the tokens of the text up to
    // there and those of the whole part.
    const size_t first = common_prefix(TRY(tokenizer.encode(text.substr(0, begin), {})), ids);
    const size_t last = common_prefix(TRY(tokenizer.encode(text.substr(0, end), {})), ids);
    for (size_t i = first; i < last; ++i) mask[i] = 1;
  }
  return mask;
}

Result<AssistantTokens> assistant_tokens(const TextReader& reader, const Json& messages, const Json& columns,
                                         std::string_view column, const text::Rendered& whole,
                                         const std::vector<int32_t>& ids) {
  AssistantTokens tokens;
  tokens.derived = whole.assistant_spans.empty();
  const Ranges ranges = tokens.derived ? TRY(derive_turns(reader, messages, columns, column, whole.text)) : whole.assistant_spans;
  tokens.mask = TRY(tokens_in_ranges(reader.tokenizer, whole.text, ids, ranges));
  return tokens;
}

}  // namespace candor::data
