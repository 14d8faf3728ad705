// candor inspect PATH: what is in this file or folder.
#include <fmt/format.h>

#include "base/input_file.h"
#include "cli/exit_code.h"
#include "cli/inspect_facts.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "files/model_files.h"

namespace candor::cli {
namespace {

// A path as it stands, or what a user may write as MODEL.
Result<std::filesystem::path> resolved(const std::string& name) {
  if (path_exists(name)) return std::filesystem::path(name);
  return files::resolve_model(name);
}

Result<files::Json> inspected(const std::string& name) {
  return inspect_path(TRY(resolved(name)));
}

}  // namespace

int inspect(const Words& words) {
  Options options(
      "inspect",
      "Says in one screen what a model, an adapter, a checkpoint, a run, a tokenizer or a file of rows holds.");
  std::string path;
  ModelOptions shared;
  options.app.add_option("PATH", path, "the file or folder, or a model's name (smollm2, hub:OWNER/NAME)")->required();
  shared.add_json(options.app, "print one JSON object with everything");
  if (const auto over = options.parse(words)) return *over;
  const auto facts = inspected(path);
  if (!facts) return fail(facts.error());
  if (shared.json)
    fmt::print("{}\n", facts->dump(1, ' ', false, files::Json::error_handler_t::replace));
  else
    fmt::print("{}", facts_text(*facts));
  return kOk;
}

}  // namespace candor::cli
