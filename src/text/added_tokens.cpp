#include "text/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "text/unicode.h"

namespace candor::text {
namespace {

// The start of the character that ends at `end` of valid UTF-8.
size_t character_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool word_before(std::string_view text, size_t end) {
  return end > 0 && is_word(utf8_unit(text, character_before(text, end)).character);
}

bool word_at(std::string_view text, size_t at) {
  return at < text.size() && is_word(utf8_unit(text, at).character);
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  CHECK(!token.content.empty());
  const int32_t id = token.id;
  const AddedToken& stored = by_id_.insert_or_assign(id, std::move(token)).first->second;
  Index& index = stored.normalized ? normalized_ : raw_;
  index.by_content[stored.content] = &stored;
  auto& lengths = index.lengths[static_cast<unsigned char>(stored.content[0])];
  const auto place = std::lower_bound(lengths.begin(), lengths.end(), stored.content.size(), std::greater<>());
  if (place == lengths.end() || *place != stored.content.size()) lengths.insert(place, stored.content.size());
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  for (const Index* index : {&raw_, &normalized_}) {
    if (const auto found = index->by_content.find(content); found != index->by_content.end()) return found->second;
  }
  return nullptr;
}

const AddedToken* AddedTokens::longest_at(const Index& index, std::string_view text, size_t at) const {
  for (size_t length : index.lengths[static_cast<unsigned char>(text[at])]) {
    if (at + length > text.size()) continue;
    const auto found = index.by_content.find(text.substr(at, length));
    if (found != index.by_content.end()) return found->second;
  }
  return nullptr;
}

std::vector<AddedTokens::Segment> AddedTokens::split(std::string_view text, bool normalized, bool parse_special) const {
  const Index& index = normalized ? normalized_ : raw_;
  std::vector<Segment> segments;
  size_t done = 0;  // everything before is in a segment
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = longest_at(index, text, at);
    if (!token) {
      ++at;
      continue;
    }
    // A match that does not count is passed over whole: no other token is searched inside it.
    size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->special && !parse_special) continue;
    if (token->single_word && (word_before(text, begin) || word_at(text, end))) continue;
    if (token->lstrip) {
      while (begin > done && is_white_space(utf8_unit(text, character_before(text, begin)).character)) {
        begin = character_before(text, begin);
      }
    }
    if (token->rstrip) {
      while (end < text.size() && is_white_space(utf8_unit(text, end).character)) end += utf8_unit(text, end).length;
    }
    if (begin > done) segments.push_back({text.substr(done, begin - done), nullptr});
    segments.push_back({text.substr(begin, end - begin), token});
    done = std::max(done, end);
  }
  if (done < text.size()) segments.push_back({text.substr(done), nullptr});
  return segments;
}

}  // namespace candor::text
