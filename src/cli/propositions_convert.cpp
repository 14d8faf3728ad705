// candor propositions convert KIND SOURCE -o OUT: what others have made, as propositions.
#include <fmt/format.h>

#include "belief/convert.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/propositions_verbs.h"
#include "cli/terminal.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

struct ConvertWords {
  std::string kind, source, conjunctions, out;
  belief::ConvertOptions options;
};

const std::vector<std::string> kKinds = {"cities",          "comparisons",     "translations",
                                         "entailment_bank", "leap_of_thought", "table"};

Result<belief::Converted> converted(const ConvertWords& words) {
  const data::Rows rows = TRY(data::read_rows(words.source));
  if (words.kind == "comparisons") return belief::convert_comparisons(rows, words.options);
  if (words.kind == "translations") return belief::convert_translations(rows, words.options);
  if (words.kind == "entailment_bank") return belief::convert_entailment_bank(rows, words.options);
  if (words.kind == "leap_of_thought") return belief::convert_leap_of_thought(rows, words.options);
  if (words.kind == "table") return belief::convert_table(rows, words.options);
  data::Rows conjunctions;
  if (!words.conjunctions.empty()) conjunctions = TRY(data::read_rows(words.conjunctions));
  return belief::convert_cities(rows, conjunctions, words.options);
}

Result<void> run_convert(const ConvertWords& words) {
  TRY(data::check_output(words.out));
  if (words.options.per_kind < 2 || words.options.per_kind % 2 != 0 || words.options.per_kind > 8)
    return error("[propositions] --per_kind {}. Expected an even number from 2 to 8.", words.options.per_kind);
  if (!words.conjunctions.empty() && words.kind != "cities")
    return error("[propositions] --conjunctions goes with cities only.");
  belief::Converted made = TRY(converted(words));
  if (made.items.empty()) return error("[propositions] no row of {} gave a proposition.", words.source);
  TRY(belief::write_propositions(made.items, words.out));
  const belief::Propositions file{words.out, std::move(made.items)};
  fmt::print("{}: {} propositions\n", printable(words.out), file.items.size());
  for (const auto& notes : {made.notes, faults_in_brief(file), belief::notes_on(file)})
    for (const std::string& note : notes) print_note(note);
  return {};
}

}  // namespace

int propositions_convert(const Words& words) {
  Options options("propositions convert",
                  "Makes propositions from a source. Only questions whose answer differs between the statement and its "
                  "denial are written; what is left out is counted.");
  ConvertWords convert;
  options.app
      .add_option(
          "KIND", convert.kind,
          "cities, comparisons (larger_than, smaller_than) or translations (sp_en_trans): files of Geometry of "
          "Truth (arXiv 2310.06824); entailment_bank (arXiv 2104.08661); leap_of_thought (arXiv 2006.06609); or "
          "table: rows of your own, one for each sub-question (docs/propositions.md)")
      ->required()
      ->check(CLI::IsMember(kKinds));
  options.app.add_option("SOURCE", convert.source, "a file of rows: .csv, .jsonl or .json")->required();
  options.app.add_option("-o,--output", convert.out, "the new file of propositions, .jsonl")->required();
  options.app.add_option("--conjunctions", convert.conjunctions, "with cities: cities_cities_conj.csv");
  options.app.add_option("--per_kind", convert.options.per_kind, "sub-questions of each kind (default 2)");
  options.app.add_option("--most", convert.options.most, "propositions at the most")->check(CLI::Range(1, 1000000));
  options.app.add_option("--seed", convert.options.seed, "of what is drawn (default 0)");
  if (const auto over = options.parse(words)) return *over;
  const auto done = run_convert(convert);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
