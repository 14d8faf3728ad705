// What the recipes that sample and reward share at the ends of a step and of a run, whatever they learn by: rows of
// metrics.jsonl, checkpoints, final/, and the guard's Stop.
//
// Run is the recipe's own struct of what lasts longer than a step. It has config, parts, adapter, optimizer, state,
// progress (a RolloutProgress and more), metrics, completions, and checkpoint_files(): what its checkpoints hold beside
// the policy.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "files/checkpoint.h"
#include "files/peft_adapter.h"
#include "recipes/rollout_progress.h"
#include "recipes/training_run.h"
#include "recipes/training_state.h"

namespace candor::recipes {

// A checkpoint of now. `also`: further steps whose checkpoints stay, beside the best one's and the guard's good one.
template <typename Run>
Result<void> save(Run& run, std::vector<int64_t> also = {}) {
  TRY(run.metrics.sync());
  TRY(run.completions.sync());
  TRY(save_checkpoint(run.config.output_dir, run.state, run.parts.recipe_yaml, run.adapter, run.optimizer,
                      run.checkpoint_files()));
  if (!run.config.save_total_limit) return {};
  if (run.config.load_best_model_at_end) also.push_back(run.state.best_step);
  also.push_back(run.progress.watch.guard.good_checkpoint());
  return files::prune(run.config.output_dir, *run.config.save_total_limit, also);
}

// The checkpoint of a step that is due for one: the guard may call it good. (One that an interrupt left is not part of
// an undisturbed run.)
template <typename Run>
Result<void> save_due(Run& run) {
  run.progress.watch.guard.note_saved(run.state.step);
  return save(run);
}

template <typename Run>
bool guard_saves_at(const Run& run) {
  return guard_saves_at(run.progress.watch.guard, run.config, run.state.step);
}

// A reward that failed loses no step: those before it are saved. The failure itself is what the user is told.
template <typename Run>
Error saved_before(Run& run, const Error& failure) {
  if (run.state.step == 0 || !save(run)) return failure;
  return error("{} The {} steps before are saved: --resume_from_checkpoint true goes on there.", failure.message,
               run.state.step);
}

// Evaluates where that is due, and writes the step's row; false if it was interrupted, which leaves the row unfinished.
template <typename Run>
Result<bool> finish_row(Run& run, algorithms::Metrics metrics, bool evaluation_due, bool last) {
  if (evaluation_due) {
    const auto evaluated = TRY(run.parts.evaluate(run.adapter, run.state.step));
    if (!evaluated) {
      run.progress.unfinished_row = std::move(metrics);
      return false;
    }
    if (saves_at(run.config, run.state.step, last)) note_best(run.config, *evaluated, run.state);
    metrics.insert(metrics.end(), evaluated->begin(), evaluated->end());
  }
  run.progress.unfinished_row.clear();
  TRY(run.metrics.write(metrics, last));
  return true;
}

// final/: the policy of that step's checkpoint, which becomes the run's; of now where that is the last step.
template <typename Run>
Result<void> write_policy(Run& run, int64_t step) {
  const std::filesystem::path folder = run.config.output_dir;
  if (step != run.state.step)
    run.adapter =
        TRY(engine::adapter_from_peft(run.parts.context, run.parts.model,
                                      TRY(files::read_peft_adapter(folder / fmt::format("checkpoint-{}", step)))));
  return files::write_peft_adapter(folder / "final", engine::adapter_to_peft(run.adapter));
}

// Ends a run that the guard has stopped. `row`: of the step that was not taken. `before`: the guard as it was before it
// looked at that step, which is what the checkpoint remembers. final/ becomes the policy of the newest checkpoint from
// before anything was wrong; without such a checkpoint it is not written.
template <typename Run>
Result<GuardReport> end_by_guard(Run& run, const Look& look, const algorithms::Metrics& row,
                                 const guard::Guard& before) {
  Watch& watch = run.progress.watch;
  GuardReport report = TRY(stop_report(watch.guard, run.config, look));
  TRY(run.metrics.write(row, true));
  watch = {before, report.stopped};
  run.state.cursor = run.prompts.cursor;  // the generation, which stays, has taken its prompts
  if (run.state.step > 0) TRY(save(run, {report.good_step}));
  if (report.good_step > 0) TRY(write_policy(run, report.good_step));
  return report;
}

// What the run gives, `stopped` where the guard ended it.
template <typename Run>
RolloutResult rollout_result(Run& run, double median_step_s, bool interrupted, std::optional<GuardReport> stopped) {
  return {std::move(run.adapter),
          run.state.step,
          run.state.num_tokens,
          median_step_s,
          run.state.seconds,
          interrupted,
          stopped ? std::move(*stopped) : report_of(run.progress.watch.guard, run.config)};
}

}  // namespace candor::recipes
