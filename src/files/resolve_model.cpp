// What a user may write as MODEL (model_files.h).
#include <cstdlib>
#include <vector>

#include "base/input_file.h"
#include "files/model_files.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

fs::path cache_home() {
  const std::string xdg = environment("XDG_CACHE_HOME"), home = environment("HOME");
  return !xdg.empty() ? fs::path(xdg) : fs::path(home.empty() ? "/tmp" : home) / ".cache";
}

Result<fs::path> default_model() {
  const std::string cache = environment("CANDOR_CACHE");
  const fs::path path =
      (cache.empty() ? cache_home() / "candor" : fs::path(cache)) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  if (path_exists(path)) return path;
  return error("[model] smollm2 is not in the model cache: {} is absent. ./quickstart.sh --setup-only fetches it.",
               path.string());
}

// models/tiny of the checkout that the program was built in, or of its installation.
Result<fs::path> tiny_model() {
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code).parent_path();
  for (const char* place : {"../share/candor/models/tiny", "../models/tiny", "../../models/tiny"})
    if (path_exists(program / place / "config.json")) return (program / place).lexically_normal();
  return error("[model] tiny is not beside the program: {} holds no models/tiny. Name its folder by its path.",
               program.parent_path().string());
}

fs::path hub_cache() {
  const std::string direct = environment("HF_HUB_CACHE"), home = environment("HF_HOME");
  if (!direct.empty()) return direct;
  return (home.empty() ? cache_home() / "huggingface" : fs::path(home)) / "hub";
}

// OWNER/NAME in the letters that the hub allows; no part may be a way out of the cache.
bool is_hub_name(const std::string& name) {
  const size_t slash = name.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == name.size()) return false;
  if (name.find('/', slash + 1) != std::string::npos || name.find("..") != std::string::npos) return false;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && c != '-' && c != '_' && c != '.' && c != '/') return false;
  }
  return name.front() != '.' && name[slash + 1] != '.';
}

std::vector<fs::path> entries(const fs::path& directory) {
  std::vector<fs::path> paths;
  std::error_code code;
  for (fs::directory_iterator at(directory, code), end; !code && at != end; at.increment(code))
    paths.push_back(at->path());
  return paths;
}

// The snapshot that refs/main names, or the only one there is. In it the model: the folder, or its only .gguf file.
Result<fs::path> hub_model(const std::string& name) {
  const size_t slash = name.find('/');
  const fs::path folder = hub_cache() / fmt::format("models--{}--{}", name.substr(0, slash), name.substr(slash + 1));
  fs::path snapshot;
  if (Result<std::string> reference = read_file(folder / "refs" / "main", 200); reference) {
    std::string commit = *reference;
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
    const bool plain = !commit.empty() && commit.find('/') == std::string::npos && commit.front() != '.';
    if (plain) snapshot = folder / "snapshots" / commit;
  } else if (const std::vector<fs::path> all = entries(folder / "snapshots"); all.size() == 1) {
    snapshot = all.front();
  }
  if (snapshot.empty() || !path_exists(snapshot)) {
    return error("[model] hub:{} is not in the Hugging Face cache ({}). `hf download {}` fetches it.", name,
                 folder.string(), name);
  }
  if (path_exists(snapshot / "config.json")) return snapshot;
  std::vector<fs::path> ggufs;
  for (const fs::path& path : entries(snapshot)) {
    if (path.extension() == ".gguf") ggufs.push_back(path);
  }
  if (ggufs.size() == 1) return ggufs.front();
  return error("[model] {} holds no config.json and {} .gguf files. Name one file by its path.", snapshot.string(),
               ggufs.size());
}

}  // namespace

Result<fs::path> resolve_model(const std::string& name) {
  if (name.starts_with("hub:")) {
    if (!is_hub_name(name.substr(4))) return error("[model] \"{}\" is no hub name; hub:OWNER/NAME is expected.", name);
    return hub_model(name.substr(4));
  }
  if (!name.empty() && path_exists(name)) return fs::path(name);
  if (name == "smollm2") return default_model();
  if (name == "tiny") return tiny_model();
  if (is_hub_name(name)) {
    if (Result<fs::path> found = hub_model(name); found) return found;
    return error("[model] \"{}\" is no path, and not in the Hugging Face cache ({}). `hf download {}` fetches it.",
                 name, hub_cache().string(), name);
  }
  return error("[model] \"{}\" is no path, no hub:OWNER/NAME and no bundled model (smollm2, tiny).", name);
}

}  // namespace candor::files
