// Where `generate` writes its rows: standard output, or a file that an interrupted run goes on with.
//
// Beside FILE stands FILE.settings.json: what the rows depend on besides their prompts. A resumed run must have the
// same, and the prompts that FILE holds must be those it reads now; so FILE ends up as if it had never stopped.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/result.h"
#include "files/run_log.h"

namespace candor::cli {

class GenerateOutput {
 public:
  // Standard output.
  GenerateOutput() = default;
  // Begins the file. Error: it holds something already.
  static Result<GenerateOutput> create(const std::filesystem::path& path, const files::Json& settings);
  // Goes on with the file, or begins it where there is none; a torn last line is cut off. Error: other settings (names
  // the first that differs), or none to compare with.
  static Result<GenerateOutput> resume(const std::filesystem::path& path, const files::Json& settings);

  // Whether the next row of this prompt is there already, which is then passed over. Error: it was made from another
  // prompt.
  Result<bool> has_next(const std::vector<int32_t>& prompt_ids);
  // Error: the disk or the reader behind a pipe takes no more.
  Result<void> write(const files::Json& row);

  int64_t rows() const { return rows_; }         // passed over and written
  int64_t rows_found() const { return found_; }  // passed over

 private:
  std::filesystem::path path_;
  std::optional<files::JsonLines> lines_;  // none: standard output
  std::ifstream old_;                      // open while there may be rows to pass over
  int64_t rows_ = 0, found_ = 0;
};

}  // namespace candor::cli
