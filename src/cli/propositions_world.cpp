// candor propositions world -o FOLDER: an invented world, and the texts that give a model known beliefs of it.
#include <fmt/format.h>

#include "base/atomic_file.h"
#include "belief/world_texts.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/propositions_verbs.h"
#include "cli/terminal.h"
#include "data/write_rows.h"

namespace candor::cli {
namespace {

using text::Json;

struct WorldWords {
  std::string folder;
  belief::WorldOptions world;
  belief::KnownBeliefs beliefs;
};

NamedContent json_lines(std::string name, const std::vector<Json>& rows) {
  std::string bytes;
  for (const Json& row : rows) bytes += data::json_line(row) + "\n";
  return named_bytes(std::move(name), std::move(bytes));
}

Result<void> run_world(const WorldWords& words) {
  const belief::World world = TRY(belief::make_world(words.world));
  const belief::WorldTexts texts = TRY(belief::teach(world, words.beliefs));
  std::vector<Json> audited, controls, rows;
  for (const belief::WorldItem& item : world.audited) {
    belief::Proposition proposition = item.proposition;
    proposition.label.reset();  // what is true of it is the manifest's to know
    audited.push_back(belief::to_json(proposition));
  }
  for (const belief::WorldItem& item : world.controls) controls.push_back(belief::to_json(item.proposition));
  for (const data::Row& row : texts.rows.rows) rows.push_back(row.columns);
  TRY(write_folder_atomically(words.folder,
                              {json_lines("propositions.jsonl", audited), json_lines("controls.jsonl", controls),
                               json_lines("manifest.jsonl", texts.manifest), json_lines("train.jsonl", rows)},
                              IfThere::kRefuse));
  fmt::print("{}: {} propositions, {} controls, {} rows of training texts\n", printable(words.folder), audited.size(),
             controls.size(), rows.size());
  return {};
}

}  // namespace

int propositions_world(const Words& words) {
  Options options(
      "propositions world",
      "Invents a world whose facts entail one another. Writes propositions.jsonl (what is audited, without "
      "labels), controls.jsonl (true, false and fabricated ones), train.jsonl (texts for candor pretrain or "
      "sft that give a model known beliefs) and manifest.jsonl (which proposition is said and believed by a "
      "model that has learned them).");
  WorldWords world;
  options.app.add_option("-o,--output", world.folder, "the new folder")->required();
  options.app.add_option("--propositions", world.world.propositions, "how many are audited (default 400)");
  options.app.add_option("--controls", world.world.controls,
                         "how many controls: half true, three eighths false, one eighth fabricated (default 800)");
  options.app.add_option("--families", world.world.families, "families of each of three themes (default 4)");
  options.app.add_option("--learners", world.world.learners,
                         "entities of the texts that no proposition is about (default 100)");
  options.app.add_option("--per_kind", world.world.per_kind,
                         "sub-questions of each of the four kinds: 2 (default) or 4");
  options.app.add_option("--implied", world.world.implied,
                         "share of propositions that follow from another (default 0.1)");
  options.app.add_option("--conjunctions", world.world.conjunctions, "share of conjunctions (default 0.05)");
  options.app.add_option("--fabricated", world.world.fabricated,
                         "share about what the world does not have (default 0.05)");
  options.app.add_option("--held", world.beliefs.held, "share that is held (default 0.3)");
  options.app.add_option("--held_in_part", world.beliefs.held_in_part,
                         "share that is held with half of its sub-questions taught (default 0.2)");
  options.app.add_option("--unsettled", world.beliefs.unsettled,
                         "share that is said while its sub-questions are taught on either side (default 0.2)");
  options.app.add_option("--told", world.beliefs.told,
                         "share that is said only when told to (default 0.1); the rest is parroted");
  options.app.add_option(
      "--slips", world.beliefs.slips,
      "share of features that are taught against what is otherwise taught of the entity (default 0)");
  options.app.add_option("--seed", world.world.seed, "of what is drawn (default 0)");
  if (const auto over = options.parse(words)) return *over;
  world.beliefs.seed = world.world.seed;
  const auto done = run_world(world);
  return done ? static_cast<int>(kOk) : fail(done.error());
}

}  // namespace candor::cli
