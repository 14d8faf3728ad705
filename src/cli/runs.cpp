// candor runs list | show | compare | delete | add: what ran on this machine, wherever it lies.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <set>

#include "base/atomic_file.h"
#include "base/nearest_name.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/run_facts.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "files/run_index.h"
#include "files/run_log.h"

namespace candor::cli {
namespace {

using files::Json;
using files::RunEntry;
using files::RunIndex;
namespace fs = std::filesystem;

struct Run {
  RunEntry entry;
  RunFacts facts;
  std::string name() const { return fs::path(entry.path).filename().string(); }
};

Result<RunIndex> open_index() {
  const auto path = files::default_run_index();
  if (!path) return error("[runs] neither CANDOR_DATA, XDG_DATA_HOME nor HOME is set, so there is no index of runs.");
  return RunIndex::open(*path);
}

Result<std::vector<Run>> all_runs(RunIndex& index) {
  std::vector<Run> runs;
  for (RunEntry& entry : TRY(index.list())) {
    RunFacts facts = read_run_facts(entry.path);
    runs.push_back({std::move(entry), std::move(facts)});
  }
  return runs;
}

// The run that a word means: its number, its folder, or its folder's name where only one run has it.
Result<Run> find_run(const std::vector<Run>& runs, const std::string& word) {
  std::vector<const Run*> found;
  std::error_code failure;
  const std::string path = fs::weakly_canonical(word, failure).string();
  for (const Run& run : runs)
    if (std::to_string(run.entry.id) == word || run.entry.path == path) return run;
  for (const Run& run : runs)
    if (run.name() == word) found.push_back(&run);
  if (found.size() == 1) return *found.front();
  if (found.size() > 1)
    return error("[runs] {} runs are named {}: {} and {}, among others. Give the number or the folder.", found.size(),
                 in_quotes(word), found[0]->entry.path, found[1]->entry.path);
  std::vector<std::string> names;
  for (const Run& run : runs) names.push_back(run.name());
  return error("[runs] no run {}.{} candor runs list shows them; candor runs add FOLDER makes one known.",
               in_quotes(word), did_you_mean(word, names));
}

Result<std::vector<Run>> find_runs(const std::vector<Run>& runs, const std::vector<std::string>& words) {
  std::vector<Run> found;
  for (const std::string& word : words) found.push_back(TRY(find_run(runs, word)));
  return found;
}

std::string text_at(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::string number_at(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_number() ? fmt::format("{:.4g}", at->get<double>()) : "";
}

Json as_json(const Run& run) {
  Json json = {{"id", run.entry.id},           {"name", run.name()},
               {"path", run.entry.path},       {"verb", run.entry.verb},
               {"model", run.entry.model},     {"dataset", run.entry.dataset},
               {"started", run.entry.started}, {"state", state_name(run.facts.state)},
               {"step", run.facts.step}};
  json["last"] = run.facts.last;
  json["summary"] = run.facts.summary;
  return json;
}

Json as_json(const std::vector<Run>& runs) {
  Json json = Json::array();
  for (const Run& run : runs) json.push_back(as_json(run));
  return json;
}

// A line of a table without the spaces that empty last columns leave.
void print_line(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  fmt::print("{}\n", line);
}

void print_list(const std::vector<Run>& runs) {
  if (runs.empty()) {
    fmt::print("No runs yet. Every training verb adds its own; candor runs add FOLDER adds older ones.\n");
    return;
  }
  fmt::print("{:>4}  {:<24} {:<10} {:<11} {:>7} {:>10} {:>10}  {:<16}  {}\n", "id", "run", "verb", "state", "step",
             "loss", "reward", "started", "model");
  for (const Run& run : runs)
    print_line(fmt::format("{:>4}  {:<24} {:<10} {:<11} {:>7} {:>10} {:>10}  {:<16}  {}", run.entry.id,
                           one_line(run.name(), 24), one_line(run.entry.verb, 10), state_name(run.facts.state),
                           run.facts.step, number_at(run.facts.last, "loss"), number_at(run.facts.last, "reward"),
                           one_line(run.entry.started.substr(0, 16), 16), one_line(run.entry.model, 40)));
}

void print_run(const Run& run) {
  const auto line = [](std::string_view name, const std::string& value) {
    if (!value.empty()) fmt::print("{:<20} {}\n", name, one_line(value, 200));
  };
  line("run", fmt::format("{} ({})", run.name(), run.entry.id));
  line("folder", run.entry.path);
  line("state", std::string(state_name(run.facts.state)));
  line("verb", run.entry.verb);
  line("model", run.entry.model);
  line("dataset", run.entry.dataset);
  line("started", run.entry.started);
  line("verdict", text_at(run.facts.summary, "verdict"));
  if (run.facts.summary.contains("seconds") && run.facts.summary["seconds"].is_number())
    line("time", duration_text(run.facts.summary["seconds"].get<double>()));
  if (run.facts.summary.contains("peak_bytes") && run.facts.summary["peak_bytes"].is_number_integer())
    line("peak memory", bytes_text(run.facts.summary["peak_bytes"].get<int64_t>()));
  line("try it", text_at(run.facts.summary, "talk_to_it"));
  if (run.facts.state == RunState::kUnfinished)
    line("go on with", fmt::format("candor {} {} --resume_from_checkpoint auto", run.entry.verb,
                                   (fs::path(run.entry.path) / "recipe.yaml").string()));
  if (run.facts.last.empty()) return;
  fmt::print("\nlast row of metrics.jsonl\n");
  for (const auto& [name, value] : run.facts.last.items())
    if (value.is_number()) fmt::print("  {:<44} {:>14}\n", one_line(name, 44), number_at(run.facts.last, name.c_str()));
}

// One row of the comparison: the value of each run, empty where it has none.
struct Difference {
  std::string name;
  std::vector<std::string> values;
};

std::vector<Difference> recipe_differences(const std::vector<Run>& runs) {
  std::set<std::string> keys;
  for (const Run& run : runs)
    for (const auto& [key, value] : run.facts.recipe) keys.insert(key);
  std::vector<Difference> rows;
  for (const std::string& key : keys) {
    Difference row{key, {}};
    for (const Run& run : runs) {
      const auto at = run.facts.recipe.find(key);
      row.values.push_back(at == run.facts.recipe.end() ? "" : at->second);
    }
    const bool same = std::all_of(row.values.begin(), row.values.end(),
                                  [&](const std::string& value) { return value == row.values.front(); });
    if (!same && key != "output_dir") rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<Difference> metric_rows(const std::vector<Run>& runs) {
  std::vector<std::string> names;
  for (const Run& run : runs)
    for (const auto& [name, value] : run.facts.last.items())
      if (value.is_number() && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  std::vector<Difference> rows;
  for (const std::string& name : names) {
    Difference row{name, {}};
    for (const Run& run : runs) row.values.push_back(number_at(run.facts.last, name.c_str()));
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_rows(std::string_view title, const std::vector<Difference>& rows) {
  if (rows.empty()) return;
  fmt::print("\n{}\n", title);
  for (const Difference& row : rows) {
    std::string line = fmt::format("  {:<38}", one_line(row.name, 38));
    for (const std::string& value : row.values) line += fmt::format(" {:>22}", one_line(value, 22));
    print_line(std::move(line));
  }
}

Json rows_json(const std::vector<Difference>& rows) {
  Json json = Json::object();
  for (const Difference& row : rows) json[row.name] = row.values;
  return json;
}

void compare_runs(const std::vector<Run>& runs, bool json) {
  const std::vector<Difference> recipe = recipe_differences(runs), metrics = metric_rows(runs);
  if (json) {
    fmt::print("{}\n", files::json_line({{"runs", as_json(runs)},
                                         {"recipe_differences", rows_json(recipe)},
                                         {"last_metrics", rows_json(metrics)}}));
    return;
  }
  Difference head{"", {}}, state{"state", {}};
  for (const Run& run : runs) {
    head.values.push_back(run.name());
    state.values.emplace_back(state_name(run.facts.state));
  }
  print_rows("runs", {head, state});
  print_rows("keys that differ", recipe);
  print_rows("last row of metrics.jsonl", metrics);
  fmt::print("\n");
  for (const Run& run : runs)
    if (const std::string verdict = text_at(run.facts.summary, "verdict"); !verdict.empty())
      fmt::print("{}: {}\n", printable(run.name()), printable(verdict));
}

// Whether the user says yes at the terminal; without one nothing is asked and the answer is no.
bool confirmed(const std::vector<Run>& runs) {
  if (!is_terminal(stdin) || !is_terminal(stderr)) return false;
  for (const Run& run : runs) fmt::print(stderr, "  {}\n", printable(run.entry.path));
  fmt::print(stderr, "Delete {} with everything in {}? [y/N] ", runs.size() == 1 ? "this folder" : "these folders",
             runs.size() == 1 ? "it" : "them");
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

Result<int> delete_runs(RunIndex& index, const std::vector<Run>& runs, bool keep_files, bool yes) {
  for (const Run& run : runs)
    if (run.facts.state == RunState::kRunning)
      return error("[runs] {} is running. Stop it first (Ctrl-C in its terminal).", run.entry.path);
  if (!keep_files && !yes && !confirmed(runs)) {
    print_error("nothing was deleted. --yes deletes without asking, --keep_files only forgets the entry.");
    return static_cast<int>(kUsage);
  }
  for (const Run& run : runs) {
    if (!keep_files && run.facts.state != RunState::kGone) TRY(remove_tree(run.entry.path));
    TRY(index.forget(run.entry.id));
    fmt::print("{} {}\n", keep_files ? "forgotten" : "deleted", printable(run.entry.path));
  }
  return static_cast<int>(kOk);
}

RunEntry entry_of(const fs::path& folder) {
  const RunFacts facts = read_run_facts(folder);
  const auto key = [&](const char* name) {
    const auto at = facts.recipe.find(name);
    return at == facts.recipe.end() ? std::string() : at->second;
  };
  const std::string command = text_at(facts.summary, "command");  // "candor grpo recipe.yaml"
  const size_t begin = command.find(' '), end = command.find(' ', begin + 1);
  return {0,
          folder.string(),
          begin == std::string::npos ? "" : command.substr(begin + 1, end - begin - 1),
          key("model_name_or_path"),
          key("dataset_name"),
          text_at(facts.summary, "started")};
}

// A folder that is a run, or the runs directly below it.
Result<int> add_runs(RunIndex& index, const std::vector<std::string>& folders) {
  for (const std::string& word : folders) {
    std::error_code failure;
    const fs::path folder = fs::canonical(word, failure);
    if (failure) return error("[runs] {}: {}.", in_quotes(word), failure.message());
    std::vector<fs::path> found;
    if (holds_run(folder))
      found.push_back(folder);
    else
      for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure))
        if (entry.is_directory() && holds_run(entry.path())) found.push_back(entry.path());
    if (found.empty()) return error("[runs] neither {} nor a folder in it holds a run.", in_quotes(word));
    std::sort(found.begin(), found.end());
    for (const fs::path& run : found) {
      TRY(index.record(entry_of(run)));
      fmt::print("added {}\n", printable(run.string()));
    }
  }
  return static_cast<int>(kOk);
}

}  // namespace

int runs(const Words& words) {
  Options options("runs", "What ran on this machine: the index of runs, and what their folders say.");
  options.app.require_subcommand(1);
  bool json = false, keep_files = false, yes = false;
  std::vector<std::string> names;
  const auto add_json = [&](CLI::App* verb) { verb->add_flag("--json", json, "one JSON object or array instead"); };
  CLI::App* list = options.app.add_subcommand("list", "every run, oldest first");
  CLI::App* show = options.app.add_subcommand("show", "one run: where it lies, how it went, its last metrics");
  CLI::App* compare = options.app.add_subcommand("compare", "keys and last metrics of two or more runs side by side");
  CLI::App* remove = options.app.add_subcommand("delete", "removes runs with their folders, after asking");
  CLI::App* add = options.app.add_subcommand("add", "makes known runs that came from elsewhere");
  for (CLI::App* verb : {list, show, compare}) add_json(verb);
  constexpr const char* kRun = "a run: its number, its folder, or its folder's name";
  show->add_option("RUN", names, kRun)->required()->expected(1);
  compare->add_option("RUN", names, kRun)->required()->expected(2, 6);
  remove->add_option("RUN", names, kRun)->required();
  remove->add_flag("--keep_files", keep_files, "only forgets the entry; the folder stays");
  remove->add_flag("--yes", yes, "does not ask");
  add->add_option("FOLDER", names, "a run's folder, or one that holds runs")->required();
  if (const auto over = options.parse(words)) return *over;

  const auto act = [&]() -> Result<int> {
    RunIndex index = TRY(open_index());
    if (*add) return add_runs(index, names);
    const std::vector<Run> all = TRY(all_runs(index));
    if (*list) {
      if (json)
        fmt::print("{}\n", files::json_line(as_json(all)));
      else
        print_list(all);
      return static_cast<int>(kOk);
    }
    const std::vector<Run> chosen = TRY(find_runs(all, names));
    if (*remove) return delete_runs(index, chosen, keep_files, yes);
    if (*compare)
      compare_runs(chosen, json);
    else if (json)
      fmt::print("{}\n", files::json_line(as_json(chosen.front())));
    else
      print_run(chosen.front());
    return static_cast<int>(kOk);
  };
  const auto code = act();
  return code ? *code : fail(code.error());
}

}  // namespace candor::cli
