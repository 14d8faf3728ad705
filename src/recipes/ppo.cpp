// Departures from the papers and from TRL 1.12 (the last with a PPOTrainer), all of which leave the estimator as it is:
//  * Old log-probabilities are those that the sampler reports, old values those of the critic before it moved: its own
//    first training pass finds them, or with several mini-batches a pass before. In the first step on a generation what
//    the trainer finds is compared with what was known before, bit for bit.
//  * A mini-batch is an optimizer step. (TRL's accelerator steps after gradient_accumulation_steps micro-batches,
//    whatever num_mini_batches says.) metrics.jsonl has a row for each, so max_steps, save_steps and the learning
//    rate's schedule count them; TRL counts generations.
//  * Means are over the mini-batch's tokens: TRL averages its micro-batches' means.
//  * One AdamW over policy and critic, as in TRL. max_grad_norm clips by the norm over both; TRL's loop does not clip,
//    which max_grad_norm 0 repeats.
//  * The model's own stop tokens end a completion (stop_token eos); TRL lets them run on to response_length by default,
//    as stop_token none does.
//  * Several completions of one prompt (num_generations) share its computation and stay in one mini-batch. An order of
//    its own for each pass over the generation is drawn for prompts, where there are several mini-batches.
//  * The KL coefficient may be adapted (adaptive_kl), as in TRL 0.11: after each generation, by its mean KL.
//  * Whitening takes the variance 0 where all numbers are the same.
#include "recipes/ppo.h"

#include <algorithm>
#include <cmath>

#include "algorithms/completion_metrics.h"
#include "algorithms/kl.h"
#include "algorithms/schedule.h"
#include "engine/roles.h"
#include "files/run_log.h"
#include "recipes/exact_kl.h"
#include "recipes/metrics_log.h"
#include "recipes/ppo_update.h"
#include "recipes/rollout_run.h"

namespace candor::recipes {

namespace {

// One run: everything that lasts longer than a step.
struct Run {
  const PpoConfig& config;
  RolloutParts& parts;
  engine::Adapter adapter;
  engine::AdamwState optimizer;
  std::unique_ptr<engine::Role> critic;
  engine::AdamwState critic_optimizer;
  TrainingState state;
  data::PromptStream prompts;
  PpoProgress progress;
  MetricsLog metrics;
  files::JsonLines completions;
  Rollouts of_reference = {};                                   // completions on which the forward KL is measured
  engine::Trainable trainable = engine::trainable_of(adapter);  // point into the two above: a Run stays where it is
  engine::Trainable critic_trainable = engine::trainable_of(*critic);

  std::vector<files::CheckpointFile> checkpoint_files() const {
    return {critic_file(*critic, critic_optimizer), progress_file(progress)};
  }
};

double mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// What TRL says of the objective: the KL and the entropy of a completion are sums over its tokens.
algorithms::Metrics objective_metrics(const PpoGeneration& generation) {
  const auto rows = static_cast<double>(generation.rollouts.lengths.size());
  double entropy = 0;
  for (const double logprob : generation.rollouts.logprobs) entropy -= logprob / rows;
  const double kl = mean(generation.shaped.kl), scores = mean(generation.shaped.scores);
  const double non_score_reward = -generation.kl_coef * kl;
  return {{"objective/kl", kl},
          {"objective/kl_coef", generation.kl_coef},
          {"objective/entropy", entropy},
          {"objective/non_score_reward", non_score_reward},
          {"objective/rlhf_reward", non_score_reward + scores},
          {"objective/scores", scores}};
}

void append(algorithms::Metrics& all, const algorithms::Metrics& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// What is known of a generation before a step on it.
algorithms::Metrics generation_metrics(const Run& run) {
  const PpoGeneration& generation = *run.progress.generation;
  algorithms::Metrics all;
  for (const algorithms::Metric& metric : generation.rewards.metrics(reward_names(run.config)))
    if (metric.name != "frac_reward_zero_std" && metric.name != "unscored_rows") all.push_back(metric);
  append(all, algorithms::completion_metrics(generation.rollouts.lengths, generation.rollouts.finished));
  return all;
}

// The guard's look at a generation before its first step.
Look look_at_generation(Run& run, int64_t step, const algorithms::Metrics& kl) {
  const PpoGeneration& generation = *run.progress.generation;
  SeenRollouts seen{generation.rollouts, generation.parts, generation.rewards.rewards, reward_names(run.config)};
  seen.reference = generation.reference;
  seen.known = generation_metrics(run);
  append(seen.known, objective_metrics(generation));
  append(seen.known, kl);
  return look_at_rollouts(run.progress.watch.guard, run.config, seen, step);
}

// The step's row, under the names of docs/metrics.md.
algorithms::Metrics step_metrics(const Run& run, int64_t step, const PpoNumbers& numbers, const algorithms::Metrics& kl,
                                 double step_time) {
  const PpoGeneration& generation = *run.progress.generation;
  algorithms::Metrics all = {{"step", static_cast<double>(step)},
                             {"epoch", epochs_seen(run.prompts)},
                             {"loss", numbers.loss},
                             {"grad_norm", numbers.grad_norm},
                             {"learning_rate", numbers.learning_rate},
                             {"step_time", step_time},
                             {"num_tokens", static_cast<double>(run.state.num_tokens)}};
  append(all, generation_metrics(run));
  all.push_back({"entropy", numbers.entropy});
  append(all, objective_metrics(generation));
  append(all, kl);
  append(all, algorithms::ppo_metrics(numbers.rows));
  double ended = 0;
  for (const uint8_t finished : generation.rollouts.finished) ended += finished;
  append(all, {{"policy/entropy_avg", numbers.entropy},
               {"val/num_eos_tokens", ended},
               {"episode", static_cast<double>(run.progress.generations * run.config.rows_of_a_generation())},
               {"sampling/max_abs_logprob_gap", numbers.max_gap}});
  return all;
}

Result<void> check_step(const Run& run, const PpoNumbers& numbers) {
  const int64_t step = run.state.step + 1;
  TRY(check_gap("ppo", step, numbers.max_gap));
  if (!(numbers.max_value_gap == 0))
    return error(
        "[ppo] step {}: the critic's values before and in training differ by {}; they must be equal. This is a bug in "
        "candor, or the memory of this machine is faulty.",
        step, numbers.max_value_gap);
  return check_finite(run.config, "ppo", step, numbers.loss, numbers.grad_norm);
}

// Samples, scores and values the next generation; false if it was interrupted.
Result<bool> begin_generation(Run& run, PpoPasses& passes) {
  auto sampled = next_ppo_generation(run.parts.context, run.parts, run.config, run.adapter, *run.critic, passes,
                                     run.prompts, run.state.step);
  if (!sampled) return saved_before(run, sampled.error());
  if (!*sampled) return false;
  PpoGeneration& generation = run.progress.generation.emplace(std::move(**sampled));
  generation.kl_coef = run.progress.kl_coef;
  generation.number = run.progress.generations++;
  TRY(derive(generation, run.config, passes.reference));
  return true;
}

// After its last use: the KL that it showed moves the coefficient of the next one.
void end_generation(Run& run) {
  if (run.config.adaptive_kl)
    run.progress.kl_coef = algorithms::adapted_kl_coefficient(
        run.progress.kl_coef, mean(run.progress.generation->shaped.kl), run.config.kl_target,
        static_cast<double>(run.config.rows_of_a_generation()), run.config.kl_horizon);
  run.progress.generation.reset();
}

// A step that was taken, or skipped, or where the guard stopped the run: not.
struct Step {
  algorithms::Metrics row;  // without an evaluation
  Look look;
};

// One optimizer step on the run's generation.
Result<Step> take_step(Run& run, const algorithms::Schedule& schedule, PpoPasses& passes, const PpoGradients& gradients,
                       Clock::time_point started) {
  const engine::Context& context = run.parts.context;
  const int64_t number = run.state.step + 1;
  PpoGeneration& generation = *run.progress.generation;
  const bool first_use = generation.uses == 0, due = first_use && run.config.measures_kl(generation.number + 1);
  algorithms::Metrics kl;  // of the policy that sampled
  if (due || (first_use && !generation.rollouts.gold.empty()))
    kl = measured_kl({passes.policy, passes.reference, run.adapter, run.config.temperature}, &generation.rollouts,
                     due ? run.of_reference : Rollouts());
  Look look = first_use ? look_at_generation(run, number, kl) : Look();
  PpoNumbers numbers = accumulate_gradients(context, run.config, generation, {run.trainable, run.critic_trainable},
                                            *run.critic, passes, gradients);
  float* const of_policy = gradients.policy.total().data();
  float* const of_critic = gradients.critic.total().data();
  const double policy_norm = engine::gradient_norm(context, run.trainable, of_policy);
  const double critic_norm = engine::gradient_norm(context, run.critic_trainable, of_critic);
  numbers.grad_norm = std::sqrt(policy_norm * policy_norm + critic_norm * critic_norm);
  numbers.learning_rate = algorithms::learning_rate(schedule, run.state.step);
  look_at_update(run.progress.watch.guard, run.config,
                 {numbers.loss, numbers.grad_norm, numbers.max_log_ratio, numbers.max_gap}, number, look);
  if (look.verdict.answer == guard::Answer::kProceed) {
    TRY(check_step(run, numbers));
    const engine::AdamwOptions adamw = adamw_options(run.config);
    engine::adamw_step(context, adamw, numbers.learning_rate, numbers.grad_norm, of_policy, run.optimizer,
                       run.trainable);
    engine::adamw_step(context, adamw, numbers.learning_rate, numbers.grad_norm, of_critic, run.critic_optimizer,
                       run.critic_trainable);
  }
  const double step_time = seconds_since(started);
  if (look.verdict.answer != guard::Answer::kStop) {
    ++run.state.step;
    run.state.cursor = run.prompts.cursor;
    if (first_use) run.state.num_tokens += generation.rollouts.tokens();
    ++generation.uses;
    run.state.seconds += step_time;
  }
  Step step{step_metrics(run, number, numbers, kl, step_time), std::move(look)};
  append(step.row, step.look.row);
  return step;
}

Result<void> write_completions(Run& run, int64_t step) {
  const PpoGeneration& generation = *run.progress.generation;
  for (const files::Json& row : completion_rows(generation.rollouts, run.parts.prompts, step, reward_names(run.config),
                                                generation.parts, generation.rewards.rewards, {}))
    TRY(run.completions.write(row));
  return {};
}

// final/ and critic/, of the best checkpoint's policy and the last critic.
Result<void> write_final(Run& run) {
  TRY(files::write_peft_adapter(std::filesystem::path(run.config.output_dir) / "critic",
                                engine::role_to_peft(*run.critic)));
  return write_policy(run, run.config.load_best_model_at_end ? run.state.best_step : run.state.step);
}

}  // namespace

Result<PpoStart> start_ppo(const PpoConfig& config, const engine::Context& context, const engine::Model& model,
                           const files::ModelFiles& files, const data::PromptSet& prompts) {
  engine::Adapter adapter = TRY(first_adapter(config, context, model));
  engine::AdamwState optimizer = engine::make_adamw(context, engine::trainable_of(adapter));
  std::unique_ptr<engine::Role> critic = TRY(first_critic(config, context, model, files));
  engine::AdamwState critic_optimizer = engine::make_adamw(critic->in(context), engine::trainable_of(*critic));
  TrainingState state = first_state(context, model, prompts);
  PpoProgress progress = first_progress(config);
  if (config.resume_from_checkpoint != "false")
    if (const auto newest = TRY(files::newest_complete(config.output_dir))) {
      TRY(load_checkpoint(context, model, *newest, config.resume_on_other_kernels, adapter, optimizer, state));
      TRY(read_critic(context, newest->path, *critic, critic_optimizer));
      critic_optimizer.steps = optimizer.steps;
      progress = TRY(read_ppo_progress(newest->path, config, prompts));
      TRY(go_on(progress.watch, config, "ppo", state.step));
    }
  data::PromptStream stream = TRY(open_prompts(config, prompts, state));
  return PpoStart{{std::move(adapter), std::move(optimizer), std::move(state), std::move(stream)},
                  std::move(critic),
                  std::move(critic_optimizer),
                  std::move(progress)};
}

int64_t ppo_steps(const PpoConfig& config, int64_t prompts) {
  if (config.max_steps > 0) return config.max_steps;
  const double episodes = config.total_episodes ? static_cast<double>(*config.total_episodes)
                                                : config.num_train_epochs * static_cast<double>(prompts) *
                                                      static_cast<double>(config.num_generations);
  const double generations = std::ceil(episodes / static_cast<double>(config.rows_of_a_generation()));
  return std::max<int64_t>(1, static_cast<int64_t>(generations)) * config.steps_of_a_generation();
}

Result<RolloutResult> run_ppo(const PpoConfig& config, RolloutParts parts, PpoStart start) {
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
          std::move(start.critic),
          std::move(start.critic_optimizer),
          std::move(start.state),
          std::move(start.prompts),
          std::move(start.progress),
          std::move(metrics_log),
          std::move(completions_log)};
  const int64_t steps = ppo_steps(config, run.prompts.count);
  const algorithms::Schedule schedule = learning_schedule(config, steps);
  PpoPasses passes(config, context, parts.model, run.adapter, *run.critic);
  engine::GradientShards policy_shards(context.ledger, config.gradient_shards, run.trainable);
  engine::GradientShards critic_shards(*run.critic->ledger, config.gradient_shards, run.critic_trainable);
  const PpoGradients gradients{policy_shards, critic_shards};
  std::vector<double> step_times;
  bool interrupted = false;
  std::optional<GuardReport> stopped;

  std::optional<PpoGeneration>& generation = run.progress.generation;
  const int64_t generations = (steps + config.steps_of_a_generation() - 1) / config.steps_of_a_generation();
  const int64_t begun = run.progress.generations - (generation && generation->uses == 0 ? 1 : 0);
  if (config.exact_kl_steps > 0 && generations / config.exact_kl_steps > begun / config.exact_kl_steps) {
    auto sampled = reference_completions(
        context, parts, config,
        reference_sampling(ppo_sampling_options(config, parts.model.config, 0), config.temperature));
    interrupted = !sampled;
    if (sampled) run.of_reference = std::move(*sampled);
  }
  if (generation) {
    decode_texts(parts.tokenizer, generation->rollouts);
    TRY(derive(*generation, config, passes.reference));
  }
  if (!run.progress.unfinished_row.empty() && !interrupted) {  // the evaluation that was interrupted
    interrupted =
        !TRY(finish_row(run, run.progress.unfinished_row, parts.evaluate != nullptr, run.state.step == steps));
    if (!interrupted) TRY(save(run));
  }
  while (run.state.step < steps && !interrupted) {
    const Clock::time_point started = Clock::now();
    if (!generation && !TRY(begin_generation(run, passes))) {  // Ctrl-C while sampling: the step never happened
      interrupted = true;
      break;
    }
    if (parts.doing) parts.doing("training");
    const bool first_use = generation->uses == 0;
    const guard::Guard before = run.progress.watch.guard;
    const int64_t number = run.state.step + 1;
    const Step step = TRY(take_step(run, schedule, passes, gradients, started));
    step_times.push_back(seconds_since(started));
    tell(step.look.verdict, number, parts.say);
    if (first_use) TRY(write_completions(run, number));
    if (step.look.verdict.answer == guard::Answer::kStop) {
      stopped = TRY(end_by_guard(run, step.look, step.row, before));
      break;
    }
    const auto tokens =
        static_cast<double>(generation->rollouts.tokens()) / static_cast<double>(config.num_mini_batches);
    if (generation->uses == config.steps_of_a_generation()) end_generation(run);

    const bool last = run.state.step == steps;
    const bool evaluation_due = parts.evaluate && evaluates_at(config, run.state.step, last);
    interrupted = !TRY(finish_row(run, step.row, evaluation_due, last));
    if (parts.report) parts.report({run.state.step, steps, &step.row, tokens / step_times.back()});
    interrupted = interrupted || (parts.interrupted && parts.interrupted());
    if (saves_at(config, run.state.step, last) || guard_saves_at(run)) TRY(save_due(run));
  }

  if (interrupted) TRY(save(run));
  const bool finished = !stopped && run.state.step == steps && run.progress.unfinished_row.empty();
  if (finished) TRY(write_final(run));
  return rollout_result(run, median(step_times), interrupted && !finished, std::move(stopped));
}

}  // namespace candor::recipes
