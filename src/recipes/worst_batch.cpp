#include "recipes/worst_batch.h"

#include <algorithm>
#include <vector>

namespace candor::recipes {

using engine::BatchShape;

// A plan of more tokens in a batch is absurd: it stays this large and does not overflow.
constexpr int64_t kMostTokens = 1 << 24;

BatchShape worst_batch(const GroupsOfCompletions& all) {
  const int64_t prompt = all.longest_prompt, size = all.group_size;
  const std::vector<int64_t> longest(static_cast<size_t>(size), all.longest_completion);
  BatchShape group;
  group.add(prompt, longest);
  BatchShape worst = group;
  // Several groups to a pass: as many as fit, whole or with completions so short that more fit.
  for (int64_t n = 2; n <= all.groups && n * prompt <= all.budget; ++n) {
    const int64_t tokens = std::min(all.budget, n * group.tokens), behind = tokens - n * prompt;
    // A page for each of the n·G completions that has an input; the next begins where the prompt's last page is full.
    const int64_t begun = std::min(behind, n * size);
    const int64_t prompts = n * ((prompt + engine::kPageTokens - 1) / engine::kPageTokens);
    const int64_t room = engine::kPageTokens - prompt % engine::kPageTokens;
    const int64_t pages = prompts + begun + (behind - begun + room - 1) / room;
    const int64_t entries = behind + n * size;
    worst.include({tokens, std::min(pages, n * group.pages), std::min(entries, n * group.entries)});
  }
  for (int64_t* bound : {&worst.tokens, &worst.pages, &worst.entries}) *bound = std::min(*bound, kMostTokens);
  return worst;
}

}  // namespace candor::recipes
