#include "recipes/supervised.h"

#include <algorithm>
#include <cmath>

#include "recipes/metrics_log.h"

namespace candor::recipes {

namespace {

// One run: everything that lasts longer than a step.
struct Run {
  const TrainingConfig& config;
  const SupervisedParts& parts;
  const SupervisedTask& task;
  Trained trained;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream rows;
  Watch watch;
  MetricsLog metrics;
  engine::Trainable trainable;  // points into `trained`
};

// The held-out rows at this step. Where the step `saves` a checkpoint it may become the best one.
Result<algorithms::Metrics> evaluate(Run& run, bool saves) {
  const auto say = [&](const std::string& line) {
    if (run.parts.say) run.parts.say(fmt::format("step {}: {}", run.state.step, line));
  };
  const algorithms::Metrics metrics = TRY(run.task.evaluate(run.trained, say));
  if (saves) note_best(run.config, metrics, run.state);
  return metrics;
}

// A checkpoint of now. `also`: a further step whose checkpoint stays, beside the best one's and the guard's good one.
Result<void> save(Run& run, int64_t also = 0) {
  const TrainingConfig& config = run.config;
  TRY(run.metrics.sync());
  std::vector<files::CheckpointFile> all = TRY(trained_files(run.trained, files::FloatType::kFloat32));
  if (is_watched(config)) all.push_back(watch_file(run.watch));
  TRY(save_checkpoint(config.output_dir, run.state, run.parts.recipe_yaml, std::move(all), run.optimizer));
  const int64_t best = config.load_best_model_at_end ? run.state.best_step : 0;
  if (!config.save_total_limit) return {};
  return files::prune(config.output_dir, *config.save_total_limit, {best, run.watch.guard.good_checkpoint(), also});
}

// final/: what that step's checkpoint holds, which becomes the run's; as it is now where that is the last step.
Result<void> write_final(Run& run, int64_t step) {
  const std::filesystem::path folder = run.config.output_dir;
  if (step != run.state.step)
    TRY(read_trained(run.parts.context, folder / fmt::format("checkpoint-{}", step), run.trained));
  if (run.task.finish) run.task.finish(run.trained);
  const auto type =
      run.parts.model.dtype == engine::Dtype::kBfloat16 ? files::FloatType::kBFloat16 : files::FloatType::kFloat32;
  return write_folder_atomically(folder / "final", TRY(trained_files(run.trained, type)), IfThere::kReplace);
}

// The guard's look at a step before it is taken.
Look look_at_step(Run& run, int64_t number, const SupervisedStep& step, double grad_norm) {
  Look look;
  if (step.samples) look = look_at_samples(run.watch.guard, run.config, *step.samples, number);
  if (step.preferences) look = look_at_preferences(run.watch.guard, run.config, *step.preferences, number);
  look_at_update(run.watch.guard, run.config, {step.loss, grad_norm, std::nan(""), 0}, number, look);
  return look;
}

// Ends a run that the guard has stopped, as rollout_run.h's end_by_guard.
Result<GuardReport> end_by_guard(Run& run, const Look& look, const algorithms::Metrics& row,
                                 const guard::Guard& before) {
  GuardReport report = TRY(stop_report(run.watch.guard, run.config, look));
  TRY(run.metrics.write(row, true));
  run.watch = {before, report.stopped};
  if (run.state.step > 0) TRY(save(run, report.good_step));
  if (report.good_step > 0) TRY(write_final(run, report.good_step));
  return report;
}

}  // namespace

int64_t supervised_steps(const TrainingConfig& config, int64_t rows, int64_t rows_per_step) {
  if (config.max_steps > 0) return config.max_steps;
  const int64_t per_epoch = (rows + rows_per_step - 1) / rows_per_step;
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::ceil(config.num_train_epochs * static_cast<double>(per_epoch))));
}

std::vector<int64_t> next_rows(data::PromptStream& rows, int64_t rows_per_step) {
  const int64_t left = rows.count - rows.cursor.position;
  return data::next_prompts(rows, std::min(rows_per_step, left > 0 ? left : rows.count));
}

Result<SupervisedStart> start_supervised(const TrainingConfig& config, const engine::Context& context,
                                         engine::Model& model, const files::ModelFiles& files, int64_t rows,
                                         const std::string& rows_sha256, WithHead with_head) {
  Trained trained = TRY(first_trained(config, context, model, files, with_head));
  engine::AdamwState optimizer = engine::make_adamw(context, trained.trainable());
  TrainingState state;
  state.kernels = context.kernels.name;
  state.dtype = engine::dtype_name(model.dtype);
  state.rows_sha256 = rows_sha256;
  Watch watch{guard::Guard(config.guard)};  // without stored control bands
  if (config.resume_from_checkpoint != "false")
    if (const auto newest = TRY(files::newest_complete(config.output_dir))) {
      TRY(load_training_state(*newest, config.resume_on_other_kernels, optimizer, state));
      TRY(read_trained(context, newest->path, trained));
      if (is_watched(config)) watch = TRY(read_watch(newest->path, config.guard));
    }
  data::PromptStream stream =
      TRY(data::open_prompt_stream(rows, static_cast<uint64_t>(config.seed), config.shuffle_dataset, state.cursor));
  return SupervisedStart{std::move(trained), std::move(optimizer), std::move(state), std::move(stream),
                         std::move(watch)};
}

Result<SupervisedResult> run_supervised(const TrainingConfig& config, const SupervisedParts& parts,
                                        const SupervisedTask& task, SupervisedStart start) {
  const engine::Context& context = parts.context;
  TRY(go_on(start.watch, config, task.recipe, start.state.step));
  if (start.state.step == 0) start.watch = TRY(first_watch(config.guard, parts.recipe_yaml));
  MetricsLog metrics_log = TRY(MetricsLog::resume(config.output_dir, start.state.step, config.logging_steps));
  engine::Trainable trainable = start.trained.trainable();
  Run run{config,
          parts,
          task,
          std::move(start.trained),
          std::move(start.optimizer),
          std::move(start.state),
          std::move(start.rows),
          std::move(start.watch),
          std::move(metrics_log),
          std::move(trainable)};
  const int64_t steps = supervised_steps(config, run.rows.count, task.rows_per_step);
  const algorithms::Schedule schedule = learning_schedule(config, steps);
  const engine::AdamwOptions adamw = adamw_options(config);
  engine::PolicyPass pass(context, "policy", parts.model, run.trained.max_padded_rank(),
                          engine::PolicyPass::Keep::kAllLayers, most_activation_bytes(config));
  engine::GradientShards shards(context.ledger, config.gradient_shards, run.trainable);
  std::vector<double> step_times;
  bool interrupted = false;
  std::optional<GuardReport> stopped;

  while (run.state.step < steps && !interrupted) {
    const Clock::time_point begin = Clock::now();
    const std::vector<int64_t> rows = next_rows(run.rows, task.rows_per_step);
    pass.set_dropout(engine::DropoutKey{static_cast<uint64_t>(config.seed), static_cast<uint32_t>(run.state.step)});
    const guard::Guard before = run.watch.guard;
    const algorithms::RunningMean reward_mean = run.state.reward_mean;
    const int64_t number = run.state.step + 1;
    const SupervisedStep step = TRY(task.accumulate(rows, {run.trained, run.trainable, pass, shards, run.state}));
    const double grad_norm = engine::gradient_norm(context, run.trainable, shards.total().data());
    const double learning_rate = algorithms::learning_rate(schedule, run.state.step);
    const Look look = look_at_step(run, number, step, grad_norm);
    if (look.verdict.answer == guard::Answer::kProceed) {
      TRY(check_finite(config, task.recipe, number, step.loss, grad_norm));
      engine::adamw_step(context, adamw, learning_rate, grad_norm, shards.total().data(), run.optimizer, run.trainable);
    } else {
      run.state.reward_mean = reward_mean;
    }
    const double step_time = seconds_since(begin);
    step_times.push_back(step_time);
    if (look.verdict.answer != guard::Answer::kStop) {
      ++run.state.step;
      run.state.cursor = run.rows.cursor;
      run.state.num_tokens += step.tokens;
      run.state.seconds += step_time;
    }

    algorithms::Metrics metrics = {{"step", static_cast<double>(number)},
                                   {"epoch", epochs_seen(run.rows)},
                                   {"loss", step.loss},
                                   {"grad_norm", grad_norm},
                                   {"learning_rate", learning_rate},
                                   {"step_time", step_time},
                                   {"num_tokens", static_cast<double>(run.state.num_tokens)}};
    metrics.insert(metrics.end(), step.metrics.begin(), step.metrics.end());
    metrics.insert(metrics.end(), look.row.begin(), look.row.end());
    tell(look.verdict, number, parts.say);
    if (look.verdict.answer == guard::Answer::kStop) {
      stopped = TRY(end_by_guard(run, look, metrics, before));
      break;
    }
    const bool last = run.state.step == steps;
    const bool saves = saves_at(config, run.state.step, last);
    if (config.eval_strategy == "steps" && (run.state.step % *config.eval_steps == 0 || last)) {
      const algorithms::Metrics evaluated = TRY(evaluate(run, saves));
      metrics.insert(metrics.end(), evaluated.begin(), evaluated.end());
    }
    TRY(run.metrics.write(metrics, last));
    if (parts.report) parts.report({run.state.step, steps, &metrics, static_cast<double>(step.tokens) / step_time});
    interrupted = parts.interrupted && parts.interrupted();
    if (saves || guard_saves_at(run.watch.guard, config, run.state.step)) {
      run.watch.guard.note_saved(run.state.step);
      TRY(save(run));
    }
  }

  interrupted = interrupted && run.state.step < steps;
  if (interrupted) TRY(save(run));
  const int64_t best = config.load_best_model_at_end ? run.state.best_step : run.state.step;
  if (!interrupted && !stopped) TRY(write_final(run, best));
  GuardReport report = stopped ? std::move(*stopped) : report_of(run.watch.guard, config);
  const int64_t kept = report.stopped.empty() ? best : report.good_step;
  return SupervisedResult{std::move(run.trained), run.state.step,    kept,        run.state.num_tokens,
                          median(step_times),     run.state.seconds, interrupted, std::move(report)};
}

}  // namespace candor::recipes
