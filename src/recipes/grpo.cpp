// Departures from the papers and from TRL 1.16, all of which leave the estimator as it is:
//  * Old log-probabilities are those that the sampler reports; in the first step on a generation they are the policy's
//    own, the ratio is 1 with its gradient, and the two are compared bit for bit.
//  * A generation's rows stay in their groups; TRL shuffles them before it cuts them into batches.
//  * Counts (dapo's tokens) are taken over the optimizer step, statistics over per_device_train_batch_size rows where
//    their definition says so, none over the engine's micro-batches.
//  * A group whose coefficients are all zero cannot move a weight; its training pass is skipped.
//  * KL may be subtracted from the reward (kl_placement reward: k1 summed over the row, before the advantages), the
//    estimator whose gradient is that of the sequence-level reverse KL.
#include "recipes/grpo.h"

#include <cmath>

#include "algorithms/completion_metrics.h"
#include "algorithms/schedule.h"
#include "data/prompt_order.h"
#include "files/run_log.h"
#include "recipes/exact_kl.h"
#include "recipes/grpo_options.h"
#include "recipes/grpo_update.h"
#include "recipes/metrics_log.h"
#include "recipes/online_pairs.h"
#include "recipes/rollout_run.h"

namespace candor::recipes {

namespace {

// One run: everything that lasts longer than a step.
struct Run {
  const GrpoConfig& config;
  GrpoParts& parts;
  engine::Adapter adapter;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream prompts;
  GrpoProgress progress;
  MetricsLog metrics;
  files::JsonLines completions;
  Rollouts of_reference = {};                                   // completions on which the forward KL is measured
  engine::Trainable trainable = engine::trainable_of(adapter);  // points into `adapter`: a Run stays where it is

  std::vector<files::CheckpointFile> checkpoint_files() const { return {progress_file(progress)}; }
};

// NaN where nobody scored.
double mean_of_scored(const std::vector<double>& rewards) {
  double sum = 0, count = 0;
  for (const double reward : rewards) {
    if (std::isnan(reward)) continue;
    sum += reward;
    ++count;
  }
  return count > 0 ? sum / count : std::nan("");
}

bool has_entropy_bonus(const GrpoConfig& config) {
  return config.use_adaptive_entropy || config.entropy_coef != 0;
}

void append(algorithms::Metrics& all, const algorithms::Metrics& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// What is known of a generation before a step on it.
algorithms::Metrics generation_metrics(const Run& run) {
  const Generation& generation = *run.progress.generation;
  algorithms::Metrics all = generation.advantages.metrics(reward_names(run.config));
  append(all, algorithms::completion_metrics(generation.rollouts.lengths, generation.rollouts.finished));
  return all;
}

// The guard's look at a generation before its first step.
Look look_at_generation(Run& run, int64_t step, const algorithms::Metrics& kl) {
  const Generation& generation = *run.progress.generation;
  SeenRollouts seen{generation.rollouts, generation.parts, generation.advantages.rewards, reward_names(run.config)};
  seen.reference = generation.reference;
  seen.own = run.config.samples_another() ? 1 : 0;
  seen.known = generation_metrics(run);
  append(seen.known, kl);
  return look_at_rollouts(run.progress.watch.guard, run.config, seen, step);
}

// Of the step's slice; not known where the sampler was not the policy.
double log_ratio_of_slice(const GrpoConfig& config, const Generation& generation, const StepNumbers& numbers) {
  if (config.samples_another()) return std::nan("");
  const size_t rows = numbers.rows.size(), first = static_cast<size_t>(generation.uses % config.slices()) * rows;
  const std::span<const double> old = generation.rollouts.logprobs;
  return widest_log_ratio(generation.rows().slice(first, rows), numbers.logprobs,
                          generation.rows().tokens_of(old, first, rows));
}

// The step's row, under the names of docs/metrics.md.
algorithms::Metrics step_metrics(const Run& run, int64_t step, const StepNumbers& numbers,
                                 const algorithms::Metrics& kl, double step_time) {
  const Generation& generation = *run.progress.generation;
  algorithms::Metrics all = {{"step", static_cast<double>(step)},
                             {"epoch", epochs_seen(run.prompts)},
                             {"loss", numbers.loss},
                             {"grad_norm", numbers.grad_norm},
                             {"learning_rate", numbers.learning_rate},
                             {"step_time", step_time},
                             {"num_tokens", static_cast<double>(run.state.num_tokens)}};
  append(all, generation_metrics(run));
  if (run.config.compares_pairs())
    append(all, online_pair_metrics(run.config, generation, numbers.logprobs));
  else
    append(all, algorithms::grpo_metrics(numbers.rows, loss_options(run.config), {true, run.config.beta != 0}));
  if (run.config.has_greedy_baseline()) append(all, {{"reward_greedy", mean_of_scored(generation.greedy_rewards)}});
  append(all, kl);
  all.push_back({"sampling/max_abs_logprob_gap", numbers.max_gap});
  if (has_entropy_bonus(run.config))
    append(all, {{"policy_loss", numbers.policy_loss},
                 {"entropy_coef",
                  run.config.use_adaptive_entropy ? run.progress.entropy.coefficient : run.config.entropy_coef}});
  if (run.config.dynamic_sampling)
    append(all, {{"dynamic_sampling/rounds", static_cast<double>(generation.rounds)},
                 {"dynamic_sampling/replaced_groups", static_cast<double>(generation.replaced_groups)},
                 {"dynamic_sampling/reward_of_all", generation.reward_of_all}});
  return all;
}

Result<void> check_step(const Run& run, const StepNumbers& numbers) {
  const int64_t step = run.state.step + 1;
  TRY(check_gap(run.config.name(), step, numbers.max_gap));
  return check_finite(run.config, run.config.name(), step, numbers.loss, numbers.grad_norm);
}

// A step that was taken, or skipped, or where the guard stopped the run: not.
struct Step {
  algorithms::Metrics row;  // without an evaluation
  Look look;
};

// One optimizer step on the run's generation.
Result<Step> take_step(Run& run, const algorithms::Schedule& schedule, engine::PolicyPass& policy,
                       engine::PolicyPass& base, engine::GradientShards& shards, Clock::time_point started) {
  const GrpoConfig& config = run.config;
  const engine::Context& context = run.parts.context;
  const int64_t number = run.state.step + 1;
  Generation& generation = *run.progress.generation;
  algorithms::EntropyController& entropy = run.progress.entropy;
  guard::Guard& guard = run.progress.watch.guard;
  const bool first_use = generation.uses == 0, of_gold = first_use && !generation.rollouts.gold.empty();
  algorithms::Metrics kl;
  if (config.measures_kl(number) || of_gold)
    kl = measured_kl({policy, base, run.adapter, config.policy_temperature()},
                     config.samples_another() ? nullptr : &generation.rollouts,
                     config.measures_kl(number) ? run.of_reference : Rollouts());
  Look look = first_use ? look_at_generation(run, number, kl) : Look();
  StepNumbers numbers = accumulate_gradients(
      context, config, generation, config.use_adaptive_entropy ? entropy.active_coefficient() : config.entropy_coef,
      run.trainable, policy, shards);
  numbers.grad_norm = engine::gradient_norm(context, run.trainable, shards.total().data());
  numbers.learning_rate = algorithms::learning_rate(schedule, run.state.step);
  look_at_update(guard, config,
                 {numbers.loss, numbers.grad_norm, log_ratio_of_slice(config, generation, numbers), numbers.max_gap},
                 number, look);
  const bool proceeds = look.verdict.answer == guard::Answer::kProceed;
  if (proceeds) {
    TRY(check_step(run, numbers));
    engine::adamw_step(context, adamw_options(config), numbers.learning_rate, numbers.grad_norm, shards.total().data(),
                       run.optimizer, run.trainable);
  }
  const double step_time = seconds_since(started);
  if (look.verdict.answer != guard::Answer::kStop) {
    ++run.state.step;
    run.state.cursor = run.prompts.cursor;
    if (first_use) run.state.num_tokens += generation.tokens;
    ++generation.uses;
    run.state.seconds += step_time;
  }
  if (config.use_adaptive_entropy && proceeds) entropy.update(numbers.kept_entropy);
  Step step{step_metrics(run, number, numbers, kl, step_time), std::move(look)};
  append(step.row, step.look.row);
  return step;
}

}  // namespace

Result<GrpoStart> start_grpo(const GrpoConfig& config, const engine::Context& context, const engine::Model& model,
                             const data::PromptSet& prompts) {
  engine::Adapter adapter = TRY(first_adapter(config, context, model));
  engine::AdamwState optimizer = engine::make_adamw(context, engine::trainable_of(adapter));
  TrainingState state = first_state(context, model, prompts);
  GrpoProgress progress = first_progress(config);
  if (config.resume_from_checkpoint != "false")
    if (const auto newest = TRY(files::newest_complete(config.output_dir))) {
      TRY(load_checkpoint(context, model, *newest, config.resume_on_other_kernels, adapter, optimizer, state));
      progress = TRY(read_progress(newest->path, config, prompts));
      TRY(go_on(progress.watch, config, config.name(), state.step));
    }
  data::PromptStream stream = TRY(open_prompts(config, prompts, state));
  return GrpoStart{{std::move(adapter), std::move(optimizer), std::move(state), std::move(stream)},
                   std::move(progress)};
}

int64_t grpo_steps(const GrpoConfig& config, int64_t prompts) {
  const int64_t generations = total_steps(config, prompts, config.groups_per_generation());
  return config.max_steps > 0 ? config.max_steps : generations * config.steps_of_a_generation();
}

Result<RolloutResult> run_grpo(const GrpoConfig& config, GrpoParts parts, GrpoStart start) {
  const engine::Context& context = parts.context;
  const std::filesystem::path folder = config.output_dir;
  const int64_t done = start.state.step;  // where the logs end
  if (done == 0) start.progress.watch = TRY(first_watch(config.guard, parts.recipe_yaml));
  MetricsLog metrics_log = TRY(MetricsLog::resume(folder, done, config.logging_steps));
  files::JsonLines completions_log = TRY(files::JsonLines::resume(folder / "completions.jsonl", done));
  Run run{config,
          parts,
          std::move(start.adapter),
          std::move(start.optimizer),
          std::move(start.state),
          std::move(start.prompts),
          std::move(start.progress),
          std::move(metrics_log),
          std::move(completions_log)};
  const int64_t steps = grpo_steps(config, run.prompts.count);
  const algorithms::Schedule schedule = learning_schedule(config, steps);
  engine::PolicyPass policy(context, "policy", parts.model, run.adapter.max_padded_rank,
                            engine::PolicyPass::Keep::kAllLayers, most_activation_bytes(config));
  engine::PolicyPass base(context, "reference", parts.model, 0, engine::PolicyPass::Keep::kOneLayer);
  engine::GradientShards shards(context.ledger, config.gradient_shards, run.trainable);
  std::vector<double> step_times;
  bool interrupted = false;
  std::optional<GuardReport> stopped;

  std::optional<Generation>& generation = run.progress.generation;
  if (config.exact_kl_steps > 0 && steps / config.exact_kl_steps > done / config.exact_kl_steps) {
    auto sampled = reference_completions(
        context, parts, config,
        reference_sampling(sampling_options(config, parts.model.config, 0), config.policy_temperature()));
    interrupted = !sampled;
    if (sampled) run.of_reference = std::move(*sampled);
  }
  if (generation) {
    decode_texts(parts.tokenizer, generation->rollouts);
    TRY(derive(*generation, config, base));
  }
  if (!run.progress.unfinished_row.empty() && !interrupted) {  // the evaluation that was interrupted
    interrupted =
        !TRY(finish_row(run, run.progress.unfinished_row, parts.evaluate != nullptr, run.state.step == steps));
    if (!interrupted) TRY(save(run));
  }
  while (run.state.step < steps && !interrupted && !stopped) {
    const Clock::time_point started = Clock::now();
    if (!generation) {
      auto sampled = next_generation(context, parts, config, run.adapter, run.prompts, run.state.step);
      if (!sampled) return saved_before(run, sampled.error());
      if (!*sampled) {  // Ctrl-C while sampling: the step never happened
        interrupted = true;
        break;
      }
      generation = std::move(**sampled);
      TRY(derive(*generation, config, base));
    }
    if (parts.doing) parts.doing("training");
    const bool first_use = generation->uses == 0;
    const guard::Guard before = run.progress.watch.guard;
    const int64_t number = run.state.step + 1;
    const Step step = TRY(take_step(run, schedule, policy, base, shards, started));
    step_times.push_back(seconds_since(started));
    tell(step.look.verdict, number, parts.say);
    if (first_use)
      for (const files::Json& row :
           completion_rows(generation->rollouts, parts.prompts, number, reward_names(config), generation->parts,
                           generation->advantages.rewards, generation->advantages.advantages))
        TRY(run.completions.write(row));
    if (step.look.verdict.answer == guard::Answer::kStop) {
      stopped = TRY(end_by_guard(run, step.look, step.row, before));
      break;
    }
    const auto tokens = static_cast<double>(generation->rollouts.tokens()) / static_cast<double>(config.slices());
    if (generation->uses == config.steps_of_a_generation()) generation.reset();

    const bool last = run.state.step == steps;
    interrupted = !TRY(finish_row(run, step.row, parts.evaluate && evaluates_at(config, run.state.step, last), last));
    if (parts.report) parts.report({run.state.step, steps, &step.row, tokens / step_times.back()});
    interrupted = interrupted || (parts.interrupted && parts.interrupted());
    if (saves_at(config, run.state.step, last) || guard_saves_at(run)) TRY(save_due(run));
  }

  if (interrupted) TRY(save(run));
  const bool finished = !stopped && run.state.step == steps && run.progress.unfinished_row.empty();
  if (finished) TRY(write_policy(run, config.load_best_model_at_end ? run.state.best_step : run.state.step));
  return rollout_result(run, median(step_times), interrupted && !finished, std::move(stopped));
}

}  // namespace candor::recipes
