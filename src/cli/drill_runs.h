// The runs of `candor guard drill`: a start model with bad habits, a reward model that learnt from noisy labels, and
// GRPO on the drill's task with an exploit or without. Each stands in a folder; what is finished there is not done
// again.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/drill_exploits.h"
#include "files/json_file.h"

namespace candor::cli {

struct DrillSetting {
  std::filesystem::path folder;
  DrillTask task;
  std::string model;
  int64_t steps = 60;
  int64_t threads = 0;
  const std::atomic<bool>* stop = nullptr;
};

// One run of the model that was given bad habits (most of them the exploit's; it is made where it is not there yet), or
// of the setting's own. exploit: null is honest. Its folder, with metrics.jsonl and completions.jsonl. Nothing: it was
// interrupted.
Result<std::optional<std::filesystem::path>> drill_run(const DrillSetting& setting, const Exploit* exploit,
                                                       int64_t seed);

}  // namespace candor::cli
