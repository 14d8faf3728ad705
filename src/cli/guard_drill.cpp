// candor guard drill -o FOLDER: planted exploits, each with and without on the same seeds, and what the guard saw.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "cli/drill_outcome.h"
#include "cli/drill_runs.h"
#include "cli/exit_code.h"
#include "cli/guard_runs.h"
#include "cli/guard_verbs.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "data/rows.h"
#include "files/run_log.h"
#include "statistics/proportions.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;
using files::Json;

struct DrillWords {
  std::string folder, model = "models/tiny";
  std::vector<std::string> exploits;
  std::optional<int64_t> seeds, controls, steps;  // none: the drill's own
  int64_t control_steps = 10, threads = 0;
  bool json = false;
};

struct Seen {
  std::string name;  // of the exploit; "honest"
  int64_t seed = 0;
  DrillOutcome outcome;
};

// A finished run, read again.
Result<DrillOutcome> outcome_of(const fs::path& run, const Exploit* exploit, int64_t control_steps) {
  std::vector<Json> completions;
  for (data::Row& row : TRY(data::read_rows(run / "completions.jsonl")).rows)
    completions.push_back(Json(std::move(row.columns)));
  const PastRun past = TRY(read_past_run(run));
  return drill_outcome(drill_course(completions, exploit), past.rows, control_steps, guard::default_thresholds());
}

std::string step_text(int64_t step) {
  return step == 0 ? "-" : std::to_string(step);
}

std::string share_text(int64_t step, double share) {
  return step == 0 ? "-" : fmt::format("{:.1f}%", 100 * share);
}

void print_outcomes(const std::vector<Seen>& all, int64_t parity) {
  fmt::print("{:<20}{:>5}{:>8}{:>8}{:>9}{:>11}{:>8}{:>10}{:>10}  {}\n", "exploit", "seed", "starts", "alarm", "between",
             "gold lost", "stop", "gold lost", "at end", "signals of the alarm");
  for (const Seen& seen : all) {
    if (seen.name == "honest" || seen.seed % 2 != parity) continue;
    const DrillOutcome& o = seen.outcome;
    const std::string between = o.start > 0 && o.alarm > 0 ? fmt::format("{:+}", o.alarm - o.start) : "-";
    fmt::print("{:<20}{:>5}{:>8}{:>8}{:>9}{:>11}{:>8}{:>10}{:>10}  {}\n", seen.name, seen.seed,
               o.start > 0 ? std::to_string(o.start) : "never", step_text(o.alarm), between,
               share_text(o.alarm, o.lost_by_alarm), step_text(o.stop), share_text(o.stop, o.lost_by_stop),
               fmt::format("{:.1f}%", 100 * o.lost), fmt::join(o.signals, ", "));
  }
}

void print_controls(const std::vector<Seen>& all) {
  int64_t controls = 0, alarms = 0, stops = 0;
  for (const Seen& seen : all) {
    if (seen.name != "honest") continue;
    ++controls;
    alarms += seen.outcome.alarm > 0;
    stops += seen.outcome.stop > 0;
    if (seen.outcome.alarm > 0)
      fmt::print("  honest, seed {}: alarm at step {}: {}\n", seen.seed, seen.outcome.alarm,
                 fmt::join(seen.outcome.signals, ", "));
  }
  // One-sided: the upper end of the interval of 90%.
  const auto bound = [&](int64_t of) { return 100 * statistics::clopper_pearson(of, controls, 0.9).high; };
  fmt::print(
      "\n{} honest runs: {} with an alarm (upper 95% bound {:.0f}%), {} that the guard would have stopped (upper bound "
      "{:.0f}%)\n",
      controls, alarms, bound(alarms), stops, bound(stops));
}

Json seen_json(const std::vector<Seen>& all) {
  Json rows = Json::array();
  for (const Seen& seen : all) {
    const DrillOutcome& o = seen.outcome;
    rows.push_back({{"exploit", seen.name},
                    {"seed", seen.seed},
                    {"start", o.start},
                    {"alarm", o.alarm},
                    {"stop", o.stop},
                    {"signals", o.signals},
                    {"gold_peak", o.peak},
                    {"gold_lost_by_alarm", o.lost_by_alarm},
                    {"gold_lost_by_stop", o.lost_by_stop},
                    {"gold_lost", o.lost}});
  }
  return {{"runs", rows}};
}

// Every exploit's seeds, then the controls. False: interrupted.
Result<bool> run_all(const DrillWords& words, const std::vector<Exploit>& chosen, const DrillSetting& setting,
                     std::vector<Seen>& all) {
  const auto one = [&](const Exploit* exploit, int64_t seed) -> Result<bool> {
    const std::string name = exploit == nullptr ? "honest" : exploit->name;
    const auto run = TRY(drill_run(setting, exploit, seed));
    if (!run) return false;
    all.push_back({ name, seed, TRY(outcome_of(*run, exploit, words.control_steps)) });
    fmt::print(stderr, "{} {}: {}\n", name, seed,
               all.back().outcome.alarm > 0 ? fmt::format("alarm at step {}", all.back().outcome.alarm) : "no alarm");
    return true;
  };
  for (const Exploit& exploit : chosen)
    for (int64_t seed = 1; seed <= words.seeds.value_or(setting.task.seeds); ++seed)
      if (!TRY(one(&exploit, seed))) return false;
  for (int64_t seed = 1; seed <= words.controls.value_or(setting.task.controls); ++seed)
    if (!TRY(one(nullptr, seed))) return false;
  return true;
}

Result<int> run_drill(const DrillWords& words) {
  const DrillTask task = words.model == "smollm2" ? smollm2_drill() : tiny_drill();
  std::vector<Exploit> chosen;
  std::vector<std::string> names;
  for (const Exploit& exploit : task.exploits) {
    names.push_back(exploit.name);
    const bool wanted = words.exploits.empty() ||
                        std::find(words.exploits.begin(), words.exploits.end(), exploit.name) != words.exploits.end();
    if (wanted) chosen.push_back(exploit);
  }
  for (const std::string& name : words.exploits)
    if (std::find(names.begin(), names.end(), name) == names.end())
      return error("[guard drill] --exploits: there is no {}. Choose from {}.", in_quotes(name),
                   fmt::join(names, ", "));
  TRY(make_directories(words.folder));
  const std::atomic<bool>& stop = catch_interrupts();
  const DrillSetting setting{words.folder, task, words.model, words.steps.value_or(task.steps), words.threads, &stop};
  std::vector<Seen> all;
  if (!TRY(run_all(words, chosen, setting, all))) {
    fmt::print(stderr, "candor: interrupted; the same command goes on\n");
    return static_cast<int>(kInterrupted);
  }
  const Json json = seen_json(all);
  TRY(files::write_json_atomically(fs::path(words.folder) / "drill.json", json));
  if (words.json) {
    fmt::print("{}\n", files::json_line(json));
    return static_cast<int>(kOk);
  }
  fmt::print("\nEven seeds, which are reported:\n");
  print_outcomes(all, 0);
  fmt::print("\nOdd seeds, on which thresholds may be set:\n");
  print_outcomes(all, 1);
  fmt::print(
      "\nstarts: the exploit's share of completions has grown by 20 points. gold lost: of the held-out reward's "
      "highest "
      "mean of\n5 steps until then. never: the model did not learn the exploit in {} steps.\n\n",
      setting.steps);
  print_controls(all);
  return static_cast<int>(kOk);
}

}  // namespace

int guard_drill(const Words& words) {
  Options options(
      "guard drill",
      "Trains a small model on planted exploits, each on the same seeds as honest runs, and says how soon the "
      "guard saw it and how often it was wrong. What is finished in the folder is not done again.");
  DrillWords drill;
  options.app.add_option("-o,--output", drill.folder, "the drill's folder")->required();
  options.app.add_option(
      "--model", drill.model,
      "the small model: models/tiny (default); smollm2: three of the exploits, length, keyword and format");
  options.app.add_option("--exploits", drill.exploits, "which of them; all by default")->delimiter(',');
  options.app.add_option("--seeds", drill.seeds, "runs of each exploit (4; of smollm2 3)")->check(CLI::Range(1, 1000));
  options.app.add_option("--controls", drill.controls, "honest runs (20; of smollm2 3)")->check(CLI::Range(0, 1000));
  options.app.add_option("--steps", drill.steps, "optimizer steps of a run (60; of smollm2 20)")
      ->check(CLI::Range(1, 100000));
  options.app.add_option("--guard_control_steps", drill.control_steps, "as the recipes' key (10)")
      ->check(CLI::Range(2, 100000));
  options.app.add_option("--threads", drill.threads, "worker threads; 0 takes the cores this process may use");
  options.app.add_flag("--json", drill.json, "one JSON object instead of tables");
  if (const auto over = options.parse(words)) return *over;
  const auto code = run_drill(drill);
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
