// candor data VERB …: files of rows examined, cut in two, converted, cleared of what stands there twice.
#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "base/nearest_name.h"
#include "cli/data_verbs.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

constexpr std::array kDataVerbs = {
    Verb{"validate", "ROWS", "every bad row, with what is wrong with it", data_validate},
    Verb{"stats", "ROWS", "type, columns, lengths, turns, what stands there twice", data_stats},
    Verb{"split", "ROWS", "two files: to train on and to hold out", data_split},
    Verb{"convert", "ROWS OUT", "another format (.jsonl .json .csv, .gz .zst) or dialect", data_convert},
    Verb{"dedup", "ROWS OUT", "without rows that repeat an earlier one, word for word or nearly", data_dedup},
    Verb{"pairs", "ROLLOUTS OUT", "scored completions as preferences, as the best of n, or as labelled rows",
         data_pairs},
    Verb{"task", "TASK OUT", "a task's rows, for training or evaluation", data_task},
};

void print_help() {
  fmt::print("Files of rows: what they hold, and from one to another.\nUsage: candor data VERB ...\n\n");
  for (const Verb& verb : kDataVerbs)
    fmt::print("  {:<24}{}\n", fmt::format("{} {}", verb.name, verb.arguments), verb.summary);
  fmt::print("\n  candor data VERB --help   what the verb takes\n");
}

}  // namespace

int data(const Words& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    print_help();
    return words.empty() ? kUsage : kOk;
  }
  std::vector<std::string> names;
  for (const Verb& verb : kDataVerbs) {
    if (verb.name == words[0]) return verb.run(Words(words.begin() + 1, words.end()));
    names.emplace_back(verb.name);
  }
  print_error(fmt::format("data: unknown verb {}.{} candor data --help lists the verbs.", in_quotes(words[0]),
                          did_you_mean(words[0], names)));
  return kUsage;
}

Result<files::ModelFiles> open_text_side(const std::string& name) {
  files::ModelFiles model = TRY(files::open_model(TRY(files::resolve_model(name))));
  if (!model.tokenizer) return error("{} Its tokens cannot be counted.", model.no_tokenizer);
  return model;
}

data::TextReader reader_of(const files::ModelFiles& model) {
  return {*model.tokenizer, model.chat_template ? &*model.chat_template : nullptr, model.special_tokens};
}

Result<void> put_rows(const data::Rows& rows, const std::filesystem::path& path) {
  if (path != "-") return data::write_rows(rows, path);
  for (const data::Row& row : rows.rows) fmt::print("{}\n", data::json_line(row.columns));
  if (std::fflush(stdout) != 0) return error("standard output cannot be written to.");
  return {};
}

}  // namespace candor::cli
