// candor data split ROWS --train FILE --eval FILE: what is trained on and what is held out.
#include <fmt/format.h>

#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/split.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

struct SplitWords {
  std::string rows, train, eval;
  data::SplitOptions how;
  bool json = false;
};

Result<void> run_split(const SplitWords& words) {
  if (words.train == words.eval) return error("--train and --eval are the same file.");
  TRY(data::check_output(words.train));
  TRY(data::check_output(words.eval));
  const data::Split split = TRY(data::split_rows(TRY(data::read_rows(words.rows)), words.how));
  TRY(data::write_rows(split.train, words.train));
  TRY(data::write_rows(split.eval, words.eval));
  const int64_t shared = data::shared_prompts(split);
  if (words.json) {
    const text::Json out = {{"train", printable(words.train)}, {"train_rows", split.train.rows.size()},
                            {"eval", printable(words.eval)},   {"eval_rows", split.eval.rows.size()},
                            {"seed", words.how.seed},          {"eval_rows_with_a_prompt_of_train", shared}};
    fmt::print("{}\n", data::json_line(out));
    return {};
  }
  fmt::print("{}: {} rows\n{}: {} rows\n", printable(words.train), split.train.rows.size(), printable(words.eval),
             split.eval.rows.size());
  if (shared > 0)
    print_note(
        fmt::format("{} held out rows have a prompt that is trained on too; --group_by COLUMN keeps equal ones "
                    "together.",
                    shared));
  return {};
}

}  // namespace

int data_split(const Words& words) {
  Options options("data split", "Writes two new files: the rows to train on and the rows to hold out.");
  SplitWords split;
  options.app.add_option("ROWS", split.rows, kRowsHelp)->required();
  options.app.add_option("--train", split.train, "the new file of rows to train on; its name says its format")
      ->required();
  options.app.add_option("--eval", split.eval, "the new file of rows to hold out")->required();
  auto* count = options.app.add_option("--eval_rows", split.how.eval_rows, "how many rows to hold out");
  auto* share =
      options.app.add_option("--eval_share", split.how.eval_share, "or which share of them; without either 0.1")
          ->check(CLI::Range(0.0, 1.0));
  count->excludes(share);
  options.app.add_option("--seed", split.how.seed, "the draw is a function of this number and the rows (default 0)");
  options.app.add_option("--group_by", split.how.group_by,
                         "a column, e.g. prompt: rows with an equal value in it stay on one side");
  options.app.add_flag("--json", split.json, "one JSON object instead");
  if (const auto over = options.parse(words)) return *over;
  if (!split.how.eval_rows && !split.how.eval_share) split.how.eval_share = 0.1;
  const auto done = run_split(split);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
