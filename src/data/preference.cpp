#include "data/preference.h"

#include <algorithm>

#include "data/dialects.h"
#include "data/sequences.h"

namespace candor::data {

using text::Json;

Result<Preference> read_preference(const Json& row, const TextReader& reader) {
  const Json columns = TRY(with_explicit_prompt(row));
  const std::string end = columns["chosen"].is_array() ? "" : TRY(end_of_sequence(reader));
  std::vector<PromptCompletion> both;
  for (const char* name : {"chosen", "rejected"}) {
    Json one = columns;
    one["completion"] = columns[name];
    both.push_back(TRY(read_prompt_completion(one, reader, end)));
  }
  const size_t shared = std::min(both[0].prompt_tokens, both[1].prompt_tokens);
  Preference preference;
  const auto begin = static_cast<std::ptrdiff_t>(shared);
  preference.prompt.assign(both[0].ids.begin(), both[0].ids.begin() + begin);
  preference.chosen.assign(both[0].ids.begin() + begin, both[0].ids.end());
  preference.rejected.assign(both[1].ids.begin() + begin, both[1].ids.end());
  preference.prompt_tokens_replaced = both[0].prompt_tokens + both[0].prompt_tokens_replaced - shared;
  return preference;
}

}  // namespace candor::data
