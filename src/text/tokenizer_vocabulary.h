// A vocabulary: token texts and their ids, both ways. Ids may have gaps, but two tokens never share one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace candor::text {

class Vocabulary {
 public:
  // `id` >= 0; the caller bounds it (memory grows with the largest id). An error where the text or the id is taken.
  Result<void> add(std::string token, int32_t id, std::string_view where);

  std::optional<int32_t> id_of(std::string_view token) const;
  const std::string* token_of(int32_t id) const;                           // nullptr where no token has this id
  int32_t id_end() const { return static_cast<int32_t>(tokens_.size()); }  // one more than the largest id
  size_t count() const { return ids_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // keys of ids_, which stay where they are
};

}  // namespace candor::text
