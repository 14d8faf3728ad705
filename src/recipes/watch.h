// The guard (guard/guard.h) beside a recipe's loop: what it is shown of a step, and what its answers mean for the run.
//
// It only looks: as long as it proceeds, a run with it writes the weights of a run without it. A step that it skips
// counts, and moves nothing. Where it stops a run, the step that it stopped has a row but was not taken, and the
// checkpoint holds the run as it was before that look, so that it can go on as if nobody had looked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms/metrics.h"
#include "files/checkpoint.h"
#include "files/json_file.h"
#include "guard/guard.h"
#include "recipes/rollout_config.h"
#include "recipes/rollouts.h"

namespace candor::recipes {

// What a run remembers of it.
struct Watch {
  guard::Guard guard;
  std::string stopped = {};  // why it ended the run; empty: it did not
};
bool is_watched(const TrainingConfig& config);  // the guard is not off
// Of a run that begins; recipe_yaml: resolved. Error: the stored control bands that the recipe names cannot be read, or
// are those of another recipe.
Result<Watch> first_watch(const guard::Options& options, const std::string& recipe_yaml);
files::Json watch_json(const Watch& watch);
// Error (or an exception of Json's): the text is not what watch_json wrote.
Result<Watch> watch_from_json(const files::Json& json, const guard::Options& options);
// The same as a file of a checkpoint, for recipes that have no other of their own; without it the guard begins anew.
files::CheckpointFile watch_file(const Watch& watch);
Result<Watch> read_watch(const std::filesystem::path& checkpoint, const guard::Options& options);

// A run that was stopped goes on only where the guard can no longer stop it. `step`: of its newest checkpoint. Error:
// it can; says why the run was stopped, and what to do.
Result<void> go_on(Watch& watch, const TrainingConfig& config, std::string_view recipe, int64_t step);

// One answer of two: the graver, for the reasons and signals of both.
guard::Verdict joined(guard::Verdict a, const guard::Verdict& b);

// What the guard says of a step, and what goes into the step's row for it.
struct Look {
  algorithms::Metrics row;
  guard::Verdict verdict;
};

// A generation before its first step.
struct SeenRollouts {
  const Rollouts& rollouts;
  std::span<const double> parts, rewards;  // [N,K] and [N], NaN where nobody scored
  std::vector<std::string> part_names;     // [K]
  std::span<const double> reference = {};  // [tokens] log-probabilities; empty: not known
  int64_t own = 0;                         // of each group, so many are the policy's, the first; 0: all
  algorithms::Metrics known =
      {};  // of the step's row, as far as it is known before the step; kl_exact in nats per token
};
// Where the guard is off: of the signals, those of the held-out reward alone.
Look look_at_rollouts(guard::Guard& guard, const TrainingConfig& config, const SeenRollouts& seen, int64_t step);

// What a step has sampled and not rewarded: rollout_signals of its completions, and numbers of its row under the names
// that inspect_rollouts reads.
struct SeenSamples {
  algorithms::Metrics signals, known;
};
Look look_at_samples(guard::Guard& guard, const TrainingConfig& config, const SeenSamples& seen, int64_t step);

// A step on preferences, with the numbers that the recipe's own metrics lack.
Look look_at_preferences(guard::Guard& guard, const TrainingConfig& config, const guard::PreferenceNumbers& numbers,
                         int64_t step);

// The step that is about to be taken, after which `look` is complete; guard/… of the guard itself, guard/skipped, and
// guard/stopped where it is so.
void look_at_update(guard::Guard& guard, const TrainingConfig& config, const guard::UpdateNumbers& numbers,
                    int64_t step, Look& look);

// Whether this step ends with a checkpoint for the guard's sake, to which a Stop can go back where save_steps asks for
// none. Not where every weight trains, whose checkpoints are large.
bool guard_saves_at(const guard::Guard& guard, const TrainingConfig& config, int64_t step);

// The largest |log-ratio| of the counted tokens; NaN where one of the two is not known or not finite.
double widest_log_ratio(const algorithms::RaggedRows& rows, std::span<const double> logprobs,
                        std::span<const double> old_logprobs);

// What the guard says of a step where the run goes on, for the terminal; nothing where nothing is new.
void tell(const guard::Verdict& verdict, int64_t step, const std::function<void(const std::string&)>& say);

// How a watched run went, for its summary.
struct GuardReport {
  std::string stopped = {};  // why the guard ended it; empty: it did not
  int64_t good_step = 0;     // whose checkpoint's policy is in final/ then; 0: there is no such checkpoint
  files::Json summary = {};  // guard_summary; null where it was off
};
GuardReport report_of(const guard::Guard& guard, const TrainingConfig& config);
// Of a run that it has just stopped: with the newest checkpoint in the run's folder from before anything was wrong.
Result<GuardReport> stop_report(const guard::Guard& guard, const TrainingConfig& config, const Look& look);

}  // namespace candor::recipes
