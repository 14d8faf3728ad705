#include "rewards/reward_cache.h"

#include <utility>

#include "base/input_file.h"
#include "rewards/external.h"

namespace candor::rewards {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPart = 1 << 20;
constexpr size_t kLongestLine = 1 << 16;

// Calls row(line, number) for every whole line, and returns how many bytes they are.
template <typename Row>
Result<uint64_t> for_each_line(const fs::path& path, Row row) {
  const InputFile file = TRY(InputFile::open(path));
  std::string text, part;
  uint64_t whole = 0;
  int64_t number = 0;
  for (uint64_t read = 0; read < file.size(); read += part.size()) {
    part.resize(std::min(file.size() - read, kPart));
    TRY(file.read(read, part.data(), part.size()));
    text += part;
    size_t begin = 0;
    for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      TRY(row(std::string_view(text).substr(begin, end - begin), ++number));
      whole += end + 1 - begin;
    }
    text.erase(0, begin);
    if (text.size() > kLongestLine) return error("[{}] line {} is too long for a score.", path.string(), number + 1);
  }
  return whole;
}

}  // namespace

Result<RewardCache> RewardCache::open(const fs::path& path) {
  RewardCache cache(TRY(files::JsonLines::open(path)));
  const uint64_t whole = TRY(for_each_line(path, [&](std::string_view line, int64_t number) -> Result<void> {
    const std::string place = fmt::format("{}, line {}", path.string(), number);
    const auto row = TRY(files::parse_json(line, place));
    if (!row.is_object() || !row.contains("key") || !row["key"].is_string() || !row.contains("reward"))
      return error("[{}] expected {{\"key\": …, \"reward\": …}}; the file was not written by a run, or was edited.",
                   place);
    const auto score = score_from_json(row["reward"]);
    if (!score) return error("[{}] {}", place, score.error().message);
    cache.scores_[row["key"].get<std::string>()] = *score;
    return {};
  }));
  std::error_code failure;
  if (fs::file_size(path, failure) > whole && !failure) fs::resize_file(path, whole, failure);
  if (failure) return error("[{}] cannot shorten: {}.", path.string(), failure.message());
  return cache;
}

const std::optional<double>* RewardCache::find(const std::string& key) const {
  const auto place = scores_.find(key);
  return place == scores_.end() ? nullptr : &place->second;
}

Result<void> RewardCache::add(const std::string& key, std::optional<double> score) {
  TRY(file_.write({{"key", key}, {"reward", score ? files::Json(*score) : files::Json()}}));
  scores_[key] = score;
  return {};
}

}  // namespace candor::rewards
