#include "cli/run_facts.h"

#include <yaml-cpp/yaml.h>

#include <fstream>

#include "base/folder_lock.h"

namespace candor::cli {
namespace {

using files::Json;
namespace fs = std::filesystem;

constexpr std::streamoff kTail = 256 << 10;  // bytes at the end of metrics.jsonl that hold its last row
constexpr uint64_t kLargestSummary = 8 << 20;

// The last whole line that is a JSON object; {} where there is none.
Json last_row(const fs::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return Json::object();
  const std::streamoff size = in.tellg();
  in.seekg(std::max<std::streamoff>(0, size - kTail));
  std::string tail(std::istreambuf_iterator<char>(in), {});
  for (size_t end = tail.rfind('\n'); end != std::string::npos && end > 0; end = tail.rfind('\n', end - 1)) {
    const size_t before = tail.rfind('\n', end - 1);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    auto row = files::parse_json(std::string_view(tail).substr(begin, end - begin), "metrics.jsonl");
    if (row && row->is_object()) return std::move(*row);
    if (before == std::string::npos) break;
  }
  return Json::object();
}

std::map<std::string, std::string> recipe_keys(const fs::path& path) {
  std::map<std::string, std::string> keys;
  try {
    const YAML::Node recipe = YAML::LoadFile(path.string());
    for (const auto& entry : recipe) keys[entry.first.as<std::string>()] = YAML::Dump(entry.second);
  } catch (const YAML::Exception&) {
    keys.clear();
  }
  return keys;
}

}  // namespace

std::string_view state_name(RunState state) {
  switch (state) {
    case RunState::kGone:
      return "gone";
    case RunState::kRunning:
      return "running";
    case RunState::kUnfinished:
      return "unfinished";
    case RunState::kFinished:
      return "finished";
  }
  return "";
}

bool holds_run(const fs::path& folder) {
  std::error_code failure;
  return fs::exists(folder / "recipe.yaml", failure) || fs::exists(folder / "metrics.jsonl", failure);
}

RunFacts read_run_facts(const fs::path& run) {
  RunFacts facts{.path = run};
  if (!holds_run(run)) return facts;
  facts.last = last_row(run / "metrics.jsonl");
  if (facts.last.contains("step") && facts.last["step"].is_number_integer())
    facts.step = facts.last["step"].get<int64_t>();
  if (auto summary = files::read_json_file(run / "summary.json", kLargestSummary); summary && summary->is_object())
    facts.summary = std::move(*summary);
  facts.recipe = recipe_keys(run / "recipe.yaml");
  facts.state = is_locked(run)          ? RunState::kRunning
                : facts.summary.empty() ? RunState::kUnfinished
                                        : RunState::kFinished;
  return facts;
}

}  // namespace candor::cli
