// The held-out reward's keys that every recipe with one takes (all ours). It is looked at and never trained on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace candor::recipes {

struct GoldKeys {
  std::vector<std::string> gold_reward_funcs;  // names, or paths of reward models; empty: there is none
  std::string gold_accuracy_extraction;        // empty: accuracy_extraction
  std::vector<std::string> gold_reward_model_path;
  int64_t gold_steps = 10;

  bool has_gold() const { return !gold_reward_funcs.empty(); }
  // Whether the held-out reward is asked in these steps (from 1; of a recipe that samples: which one generation
  // serves): in the first, before which nothing has been learnt, and then once every gold_steps.
  bool measures_gold(int64_t first, int64_t last) const {
    return has_gold() && (first == 1 || last / gold_steps > (first - 1) / gold_steps);
  }
};

}  // namespace candor::recipes
