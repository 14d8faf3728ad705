// What a guard remembers of a run: plain numbers, so that it can be copied, and written into a checkpoint and back.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "guard/bands.h"
#include "guard/gold.h"

namespace candor::guard {

// The beginning of an alarm.
struct Alarm {
  std::string signal;
  int64_t step = 0;
  double value = 0;
  double band = 0;  // the end of the band that the value has passed, or the threshold; NaN: none
  bool stop = false;
};

struct Memory {
  std::map<std::string, Watch> watches;          // by signal
  std::map<std::string, Watch> rising, falling;  // the reward's parts, by name
  Watch rejected;                                // log-probabilities of rejected completions
  Watch reward;
  std::vector<double> first_rewards, rewards;  // the first and the last reward_looks
  double reward_moves = 0;                     // sum of the distances of neighbouring looks
  Window kl, gradient;
  std::vector<double> budget;  // the last estimates of the KL, nats per completion
  std::vector<GoldLook> gold;
  int64_t beyond_optimum = 0;      // looks running
  int64_t broken = 0;              // steps running
  std::set<std::string> on;        // signals without a band that were in alarm at the last look
  std::set<std::string> stopping;  // what asked to stop at the last look
  std::vector<Alarm> alarms;
  int64_t alarms_left_out = 0;  // beyond kMostAlarms
  int64_t step = 0, looks = 0, skipped = 0;
  int64_t saved = 0, good = 0;  // steps of checkpoints: the newest, the newest good one
  bool saved_clean = false;
  double first_reward = std::numeric_limits<double>::quiet_NaN();
  double d = std::numeric_limits<double>::quiet_NaN();
  double log_ratio = std::numeric_limits<double>::quiet_NaN();
};

inline constexpr size_t kMostAlarms = 256;

}  // namespace candor::guard
