#include "cli/audit_parrot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/input_file.h"
#include "belief/questions.h"
#include "cli/exit_code.h"
#include "cli/verbs.h"
#include "data/write_rows.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;
using text::Json;

// While it lives, what is printed goes to standard error: standard output is the audit's.
class StdoutToStderr {
 public:
  StdoutToStderr() {
    std::fflush(stdout);
    kept_ = ::dup(STDOUT_FILENO);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  StdoutToStderr(const StdoutToStderr&) = delete;
  StdoutToStderr& operator=(const StdoutToStderr&) = delete;
  ~StdoutToStderr() {
    std::fflush(stdout);
    if (kept_ < 0) return;
    ::dup2(kept_, STDOUT_FILENO);
    ::close(kept_);
  }

 private:
  int kept_ = -1;
};

// Each sentence as the answer to the question by which it is said, in both orders.
data::Rows sentences_of(std::span<const belief::Proposition> rows, bool chat) {
  data::Rows sentences{"parrot.jsonl", {}};
  for (const belief::Proposition& row : rows)
    for (const belief::AnswerOrder order : belief::kAnswerOrders) {
      const std::string question = belief::say_question(row.statement, row.negation, order);
      Json columns;
      if (chat) {
        columns["prompt"] = Json::array({{{"role", "user"}, {"content", question}}});
        columns["completion"] = Json::array({{{"role", "assistant"}, {"content", row.statement}}});
      } else {
        columns["prompt"] = fmt::format("Question: {}\nAnswer:", question);
        columns["completion"] = fmt::format(" {}", row.statement);
      }
      sentences.rows.push_back({std::move(columns), static_cast<int64_t>(sentences.rows.size()) + 1, 0});
    }
  return sentences;
}

}  // namespace

Result<std::string> trained_parrot(const ModelOptions& model, bool chat, std::span<const belief::Proposition> rows,
                                   int64_t steps, const fs::path& folder) {
  const fs::path run = folder / "parrot", adapter = run / "final";
  if (path_exists(run / "summary.json")) return adapter.string();
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) return error("[audit] {} cannot be made: {}.", folder.string(), code.message());
  const fs::path file = folder / "parrot.jsonl";
  TRY(data::write_rows(sentences_of(rows, chat), file));
  Words words = {"--model_name_or_path",
                 model.model,
                 "--dataset_name",
                 file.string(),
                 "--output_dir",
                 run.string(),
                 "--resume_from_checkpoint",
                 "auto",
                 "--max_steps",
                 std::to_string(steps),
                 "--per_device_train_batch_size",
                 "8",
                 "--learning_rate",
                 "1e-3",
                 "--lora_r",
                 "8",
                 "--lora_alpha",
                 "16",
                 "--threads",
                 std::to_string(model.threads),
                 "--max_memory",
                 model.max_memory};
  if (!model.dtype.empty()) words.insert(words.end(), {"--dtype", model.dtype});
  const StdoutToStderr away;
  if (const int exit_code = sft(words); exit_code != kOk)
    return error("[audit] the parrot's training (candor sft) ended with exit code {}; the lines above say why.",
                 exit_code);
  return adapter.string();
}

}  // namespace candor::cli
