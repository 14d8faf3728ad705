// Scores that were paid for, in a file that only grows: {"key": "<SHA-256>", "reward": 0.5} a line, null where the
// scorer abstained.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "files/run_log.h"

namespace candor::rewards {

class RewardCache {
 public:
  // Reads the file and opens it for appending, making it where it is absent. A torn last line, which a killed process
  // leaves, is cut off. Error: another line that is none of ours (file and line), a disk that fails.
  static Result<RewardCache> open(const std::filesystem::path& path);

  // Null: not held. Otherwise the score, nullopt where the scorer abstained.
  const std::optional<double>* find(const std::string& key) const;
  Result<void> add(const std::string& key, std::optional<double> score);
  Result<void> sync() { return file_.sync(); }  // before a score is used

 private:
  explicit RewardCache(files::JsonLines file) : file_(std::move(file)) {}
  files::JsonLines file_;
  std::map<std::string, std::optional<double>> scores_;
};

}  // namespace candor::rewards
