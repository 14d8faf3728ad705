// An HTTP service as a reward: one POST for all completions that are asked about at once (docs/rewards.md).
#pragma once

#include <filesystem>
#include <string>

#include "rewards/rewards.h"

namespace candor::rewards {

struct RewardEndpoint {
  std::string url;              // http://… or https://…
  std::string key_variable;     // of the environment, whose value goes into "Authorization: Bearer"; empty: none
  double timeout_s = 60;        // for one POST and its repetitions
  std::filesystem::path cache;  // reward_cache.jsonl
};

// The reward "endpoint". TLS is verified against the system's authorities; a redirect is not followed; a connection
// that fails, 429 and 5xx are tried again, up to four times in all, with growing pauses. Errors at once: an address
// that is neither http nor https or holds a name and password, a key's variable that is not set or would go over plain
// http to another machine. Errors of a score, which name the address: no answer in time, another status than 200, more
// than 64 MiB, no JSON of the agreed shape, too few or too many scores, one that is not finite.
Result<Reward> endpoint_reward(RewardEndpoint endpoint);

}  // namespace candor::rewards
