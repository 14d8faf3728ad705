#include "text/tokenizer_vocabulary.h"

#include "base/check.h"

namespace candor::text {

Result<void> Vocabulary::add(std::string token, int32_t id, std::string_view where) {
  CHECK(id >= 0);
  if (const std::string* other = token_of(id)) {
    return error("{}: tokens {:?} and {:?} have the same id {}. Every token needs its own.", where, *other, token, id);
  }
  const auto [entry, is_new] = ids_.emplace(std::move(token), id);
  if (!is_new) return error("{}: token {:?} stands twice, as {} and {}.", where, entry->first, entry->second, id);
  if (static_cast<size_t>(id) >= tokens_.size()) tokens_.resize(static_cast<size_t>(id) + 1, nullptr);
  tokens_[static_cast<size_t>(id)] = &entry->first;
  return {};
}

std::optional<int32_t> Vocabulary::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token_of(int32_t id) const {
  if (id < 0 || id >= id_end()) return nullptr;
  return tokens_[static_cast<size_t>(id)];
}

}  // namespace candor::text
