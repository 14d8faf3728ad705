#include "engine/stop_strings.h"

#include <algorithm>

namespace candor::engine {

StopStrings::StopStrings(const text::Tokenizer& tokenizer, std::span<const std::string> stops)
    : stops_(stops), decoder_(tokenizer, {}) {
  for (const std::string& stop : stops) longest_ = std::max(longest_, stop.size());
}

bool StopStrings::push(int32_t token) {
  tail_ += decoder_.push(token);
  for (const std::string& stop : stops_)
    if (tail_.find(stop) != std::string::npos) return true;
  // What came before the last longest_ - 1 bytes can be part of no match to come.
  if (tail_.size() >= longest_) tail_.erase(0, tail_.size() - longest_ + 1);
  return false;
}

}  // namespace candor::engine
