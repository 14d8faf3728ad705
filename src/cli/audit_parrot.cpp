#include "cli/audit_parrot.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/input_file.h"
#include "base/sha256.h"
#include "belief/questions.h"
#include "cli/exit_code.h"
#include "cli/verbs.h"
#include "data/write_rows.h"
#include "files/json_file.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;
using text::Json;

constexpr int64_t kRank = 8, kAlpha = 16;  // of a parrot that goes on from no adapter

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
      const std::string question = belief::say_question(row, order);
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

std::string digest_of(const data::Rows& rows) {
  Sha256 sum;
  for (const data::Row& row : rows.rows) sum.update(data::json_line(row.columns));
  return sum.hex();
}

// Writes into `file` how the parrot of `run` is trained; what stands there must be the same.
Result<void> claim_parrot(const fs::path& file, const fs::path& run, const files::Json& how) {
  if (!path_exists(file)) return files::write_json_atomically(file, how);
  const files::Json before = TRY(files::read_json_file(file));
  for (const auto& [key, now] : how.items()) {
    const files::Json was = before.is_object() && before.contains(key) ? before[key] : files::Json();
    if (was != now)
      return error(
          "[audit] the parrot in {} was trained with {} {}, and now it would be {}. Remove {} and {}, or give "
          "another -o.",
          run.string(), key, was.dump(), now.dump(), file.string(), run.string());
  }
  return {};
}

}  // namespace

MakeAdapter planned_parrot(const ModelOptions& model) {
  return [adapter = model.adapter](const engine::Context& context,
                                   const engine::Model& weights) -> Result<engine::Adapter> {
    if (!adapter.empty()) return engine::adapter_from_peft(context, weights, TRY(files::read_peft_adapter(adapter)));
    files::LoraConfig config;
    config.r = kRank;
    config.alpha = kAlpha;
    config.target_modules = {"all-linear"};
    return engine::make_adapter(context, weights, config, 0);
  };
}

Result<std::optional<std::string>> trained_parrot(const ModelOptions& model, bool chat,
                                                  std::span<const belief::Proposition> rows, int64_t steps,
                                                  const fs::path& folder) {
  const fs::path run = folder / "parrot", adapter = run / "final", file = folder / "parrot.jsonl";
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) return error("[audit] {} cannot be made: {}.", folder.string(), code.message());
  const data::Rows sentences = sentences_of(rows, chat);
  files::Json how = {{"steps", steps}, {"rows_sha256", digest_of(sentences)}, {"adapter_sha256", nullptr}};
  if (!model.adapter.empty())
    how["adapter_sha256"] =
        sha256_hex(TRY(read_file(fs::path(model.adapter) / "adapter_model.safetensors", uint64_t{4} << 30)));
  TRY(claim_parrot(folder / "parrot.json", run, how));
  if (path_exists(run / "summary.json")) return std::optional(adapter.string());
  if (!path_exists(file)) TRY(data::write_rows(sentences, file));
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
                 "--threads",
                 std::to_string(model.threads),
                 "--max_memory",
                 model.max_memory};
  if (model.adapter.empty())
    words.insert(words.end(), {"--lora_r", std::to_string(kRank), "--lora_alpha", std::to_string(kAlpha)});
  else
    words.insert(words.end(), {"--adapter_name_or_path", model.adapter});
  if (!model.dtype.empty()) words.insert(words.end(), {"--dtype", model.dtype});
  const StdoutToStderr away;
  const int exit_code = sft(words);
  if (exit_code == kInterrupted) return std::optional<std::string>();
  if (exit_code != kOk)
    return error("[audit] the parrot's training (candor sft) ended with exit code {}; the lines above say why.",
                 exit_code);
  return std::optional(adapter.string());
}

}  // namespace candor::cli
