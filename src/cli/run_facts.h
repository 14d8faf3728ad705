// What a run's folder says about it, for `candor runs`.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::cli {

enum class RunState {
  kGone,        // the folder is not there, or holds no run any more
  kRunning,     // a process works in it
  kUnfinished,  // interrupted, failed or killed
  kFinished,    // summary.json is there
};
std::string_view state_name(RunState state);

struct RunFacts {
  std::filesystem::path path;
  RunState state = RunState::kGone;
  int64_t step = 0;                                // of the last whole row of metrics.jsonl
  files::Json last = files::Json::object();        // that row
  files::Json summary = files::Json::object();     // summary.json, or {}
  std::map<std::string, std::string> recipe = {};  // recipe.yaml's keys, as text
};

// Never fails: what cannot be read is absent, since a listing of many runs must not stop at a damaged one.
RunFacts read_run_facts(const std::filesystem::path& run);

// Whether a folder holds what a run writes.
bool holds_run(const std::filesystem::path& folder);

}  // namespace candor::cli
