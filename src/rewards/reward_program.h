// A program of the user's as a reward: JSON lines in, JSON lines out (docs/rewards.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "rewards/rewards.h"

namespace candor::rewards {

struct RewardProgram {
  std::vector<std::string> argv;  // at least the program itself
  double timeout_s = 60;          // for all completions that are asked about at once
  int64_t memory_bytes = 0;       // of address space; 0: no limit
  std::filesystem::path cache;    // reward_cache.jsonl
};

// The reward "program". The program starts at the first score and lives until the reward goes. Where it dies, closes
// its output or is too slow it is started once more, and asked for the scores that are missing. Each of these ends the
// score with an error that names it and quotes the program's last words on stderr: it cannot be started, fails in that
// way again, answers with a line that is no {"reward": number or null}, with a number that is not finite, with a line
// of more than 1 MiB, or with more lines than it was asked for. The program is then killed; scores that came before are
// in the cache.
Reward program_reward(RewardProgram program);

}  // namespace candor::rewards
