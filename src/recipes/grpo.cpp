// Departures from the papers and from TRL 1.16, all of which leave the estimator as it is:
//  * One optimizer step per generation, so old log-probabilities are the policy's own: the ratio is 1 with its gradient
//    (TRL with num_iterations 1). The sampler's and the trainer's log-probabilities are compared bit for bit.
//  * Means and counts are taken over the whole step, never over a micro-batch.
//  * A group whose coefficients are all zero (no spread in its rewards and no KL in the loss) cannot move a weight; its
//    training pass is skipped, and its log-probabilities are the sampler's, which are the same numbers.
//  * KL may be subtracted from the reward (kl_placement reward: k1 summed over the row, before the advantages), the
//    estimator whose gradient is that of the sequence-level reverse KL.
#include "recipes/grpo.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "algorithms/advantages.h"
#include "algorithms/completion_metrics.h"
#include "algorithms/grpo.h"
#include "algorithms/kl.h"
#include "algorithms/schedule.h"
#include "base/sha256.h"
#include "data/prompt_order.h"
#include "engine/gradient_shards.h"
#include "engine/policy_pass.h"
#include "engine/sampler.h"
#include "files/run_log.h"
#include "recipes/grpo_options.h"
#include "recipes/metrics_log.h"
#include "recipes/rollouts.h"
#include "recipes/training_state.h"

namespace candor::recipes {

namespace {

// Consecutive groups of a shard that go through the model together: as many as `budget` tokens allow, at least one.
std::vector<std::vector<int64_t>> micro_batches(const std::vector<int64_t>& groups, const Rollouts& rollouts,
                                                int64_t budget) {
  std::vector<std::vector<int64_t>> batches;
  int64_t tokens = 0;
  for (int64_t g : groups) {
    const int64_t own = rollouts.group(g).tokens();
    if (batches.empty() || tokens + own > budget) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(g);
    tokens += own;
  }
  return batches;
}

std::vector<engine::RolloutGroup> groups_of(const Rollouts& rollouts, const std::vector<int64_t>& numbers) {
  std::vector<engine::RolloutGroup> groups;
  for (int64_t g : numbers) groups.push_back(rollouts.group(g));
  return groups;
}

// Log-probabilities of every completion token under the base model, the adapter off, at the sampling temperature.
std::vector<double> reference_logprobs(engine::PolicyPass& pass, const Rollouts& rollouts, double temperature,
                                       int64_t budget) {
  std::vector<int64_t> all(static_cast<size_t>(rollouts.groups));
  std::iota(all.begin(), all.end(), 0);
  std::vector<double> logprobs;
  for (const std::vector<int64_t>& batch : micro_batches(all, rollouts, budget)) {
    const auto& out = pass.forward(nullptr, groups_of(rollouts, batch), temperature);
    logprobs.insert(logprobs.end(), out.logprobs.begin(), out.logprobs.end());
  }
  return logprobs;
}

// One run: everything that lasts longer than a step.
struct Run {
  const GrpoConfig& config;
  GrpoParts& parts;
  engine::Adapter adapter;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream prompts;
  MetricsLog metrics;
  files::JsonLines completions;
  engine::Trainable trainable = engine::trainable_of(adapter);  // points into `adapter`: a Run stays where it is
};

// What a step computed, for its row in metrics.jsonl.
struct StepNumbers {
  algorithms::GroupAdvantages advantages;
  std::vector<algorithms::GrpoRow> rows;  // in row order
  double loss = 0, grad_norm = 0, learning_rate = 0, max_gap = 0;
};

// The training passes of a step: forward, loss, backward, shard by shard. Fills numbers.rows and numbers.max_gap and
// leaves the summed gradient in `shards`.
void accumulate_gradients(Run& run, const Rollouts& rollouts, const std::vector<double>& reference,
                          engine::PolicyPass& pass, engine::GradientShards& shards, StepNumbers& numbers) {
  const GrpoConfig& config = run.config;
  const algorithms::GrpoOptions options = loss_options(config);
  const algorithms::RaggedRows rows{rollouts.offsets, {}};
  const auto normalizer = algorithms::loss_normalizer(rows, options.loss_type,
                                                      {.max_completion_length = config.max_completion_length,
                                                       .local_batch_rows = config.per_device_train_batch_size,
                                                       .accumulation_steps = config.gradient_accumulation_steps});
  const auto group_size = static_cast<size_t>(rollouts.group_size);
  // The loss of one group's rows, with these log-probabilities and entropies of their tokens.
  auto loss_of = [&](int64_t group, std::span<const double> logprobs, std::span<const double> entropies) {
    const size_t first = static_cast<size_t>(group) * group_size, count = group_size;
    algorithms::GrpoInputs in;
    in.rows = rows.slice(first, count);
    in.logprobs = logprobs;
    in.entropies = entropies;
    in.reference_logprobs = rows.tokens_of(std::span<const double>(reference), first, count);
    in.advantages = std::span<const double>(numbers.advantages.advantages).subspan(first, count);
    in.row_weights = std::span<const double>(normalizer.row_weights).subspan(first, count);
    algorithms::GrpoLoss loss = algorithms::grpo_loss(in, options);
    std::copy(loss.rows.begin(), loss.rows.end(), numbers.rows.begin() + static_cast<std::ptrdiff_t>(first));
    return loss;
  };

  numbers.rows.resize(rows.size());
  std::vector<int64_t> live;  // groups that can move a weight
  for (int64_t g = 0; g < rollouts.groups; ++g) {
    const auto advantages = std::span<const double>(numbers.advantages.advantages).subspan(g * group_size, group_size);
    const bool moves =
        options.beta != 0 || std::any_of(advantages.begin(), advantages.end(), [](double a) { return a != 0; });
    if (moves) {
      live.push_back(g);
      continue;
    }
    const auto first = static_cast<size_t>(g) * group_size;
    loss_of(g, rows.tokens_of(std::span<const double>(rollouts.logprobs), first, group_size),
            rows.tokens_of(std::span<const double>(rollouts.entropies), first, group_size));
  }
  auto forward = [&](const std::vector<int64_t>& batch) -> const engine::HeadOutput& {
    const engine::HeadOutput& out = pass.forward(&run.adapter, groups_of(rollouts, batch), config.temperature);
    size_t entry = 0;
    for (int64_t g : batch)
      for (int64_t t = rollouts.offsets[g * rollouts.group_size]; t < rollouts.offsets[(g + 1) * rollouts.group_size];
           ++t) {
        const double gap = std::abs(static_cast<double>(out.logprobs[entry++]) - rollouts.logprobs[t]);
        numbers.max_gap = std::isnan(gap) ? gap : std::max(numbers.max_gap, gap);
      }
    return out;
  };
  if (live.empty()) forward({0});  // nothing to train, but the gap is measured at every step

  const std::vector<engine::ShardRange> ranges = engine::shard_ranges(rollouts.groups, config.gradient_shards);
  shards.reduce(run.parts.context, [&](int64_t shard, float* gradients) {
    std::vector<int64_t> mine;
    for (int64_t g : live)
      if (g >= ranges[shard].begin && g < ranges[shard].end) mine.push_back(g);
    for (const std::vector<int64_t>& batch : micro_batches(mine, rollouts, micro_batch_tokens(config))) {
      const engine::HeadOutput& out = forward(batch);
      std::vector<float> d_logprobs;
      size_t entry = 0;
      for (int64_t g : batch) {
        const auto tokens = static_cast<size_t>(rollouts.group(g).completion_tokens());
        const std::vector<double> logprobs(out.logprobs.begin() + entry, out.logprobs.begin() + entry + tokens);
        const std::vector<double> entropies(out.entropy.begin() + entry, out.entropy.begin() + entry + tokens);
        const algorithms::GrpoLoss loss = loss_of(g, logprobs, entropies);
        d_logprobs.insert(d_logprobs.end(), loss.d_logprobs.begin(), loss.d_logprobs.end());
        entry += tokens;
      }
      const std::vector<float> d_entropies(d_logprobs.size(), 0.0f);
      pass.backward(run.trainable, d_logprobs, d_entropies, gradients);
    }
  });
  for (const algorithms::GrpoRow& row : numbers.rows) numbers.loss += row.loss;
}

// The step's row, under the names of docs/metrics.md.
algorithms::Metrics step_metrics(const Run& run, const Rollouts& rollouts, const StepNumbers& numbers, bool reference,
                                 double step_time) {
  algorithms::Metrics all = {{"step", static_cast<double>(run.state.step)},
                             {"epoch", epochs_seen(run.prompts)},
                             {"loss", numbers.loss},
                             {"grad_norm", numbers.grad_norm},
                             {"learning_rate", numbers.learning_rate},
                             {"step_time", step_time},
                             {"num_tokens", static_cast<double>(run.state.num_tokens)}};
  auto append = [&](const algorithms::Metrics& more) { all.insert(all.end(), more.begin(), more.end()); };
  append(numbers.advantages.metrics(run.config.reward_funcs));
  append(algorithms::completion_metrics(rollouts.lengths, rollouts.finished));
  append(algorithms::grpo_metrics(numbers.rows, loss_options(run.config), {true, reference}));
  all.push_back({"sampling/max_abs_logprob_gap", numbers.max_gap});
  return all;
}

Result<void> check_step(const Run& run, const StepNumbers& numbers) {
  const int64_t step = run.state.step + 1;
  if (!(numbers.max_gap == 0))
    return error(
        "[grpo] step {}: the sampler's and the trainer's log-probabilities differ by {}; they must be equal. "
        "This is a bug in candor, or the memory of this machine is faulty.",
        step, numbers.max_gap);
  return check_finite(run.config, "grpo", step, numbers.loss, numbers.grad_norm);
}

Result<void> save(Run& run) {
  TRY(run.metrics.sync());
  TRY(run.completions.sync());
  TRY(save_checkpoint(run.config.output_dir, run.state, run.parts.recipe_yaml, run.adapter, run.optimizer));
  if (run.config.save_total_limit) TRY(files::prune(run.config.output_dir, *run.config.save_total_limit));
  return {};
}

// What the prompts are, whatever file they came from: runs of one digest train on the same rows in the same order.
std::string digest_of(const data::PromptSet& set) {
  Sha256 sum;
  for (const data::Prompt& prompt : set.prompts)
    sum.update(files::json_line(prompt.row.columns) + "\n" + prompt.text + "\n");
  return sum.hex();
}

}  // namespace

Result<GrpoStart> start_grpo(const GrpoConfig& config, const engine::Context& context, const engine::Model& model,
                             const data::PromptSet& prompts) {
  engine::Adapter adapter = TRY(first_adapter(config, context, model));
  engine::AdamwState optimizer = engine::make_adamw(context, engine::trainable_of(adapter));
  TrainingState state;
  state.kernels = context.kernels.name;
  state.dtype = engine::dtype_name(model.dtype);
  state.rows_sha256 = digest_of(prompts);
  if (config.resume_from_checkpoint != "false")
    if (const auto newest = TRY(files::newest_complete(config.output_dir)))
      TRY(load_checkpoint(context, model, *newest, config.resume_on_other_kernels, adapter, optimizer, state));
  data::PromptStream stream =
      TRY(data::open_prompt_stream(static_cast<int64_t>(prompts.prompts.size()), static_cast<uint64_t>(config.seed),
                                   config.shuffle_dataset, state.cursor));
  return GrpoStart{std::move(adapter), std::move(optimizer), std::move(state), std::move(stream)};
}

Result<GrpoResult> run_grpo(const GrpoConfig& config, GrpoParts parts, GrpoStart start) {
  const engine::Context& context = parts.context;
  const std::filesystem::path folder = config.output_dir;
  const int64_t done = start.state.step;  // where the logs end
  MetricsLog metrics_log = TRY(MetricsLog::resume(folder, done, config.logging_steps));
  files::JsonLines completions_log = TRY(files::JsonLines::resume(folder / "completions.jsonl", done));
  Run run{config,
          parts,
          std::move(start.adapter),
          std::move(start.optimizer),
          std::move(start.state),
          std::move(start.prompts),
          std::move(metrics_log),
          std::move(completions_log)};
  const int64_t steps = total_steps(config, run.prompts.count, config.groups_per_step());
  const algorithms::Schedule schedule = learning_schedule(config, steps);
  const engine::AdamwOptions adamw = adamw_options(config);
  const bool wants_reference = config.beta != 0;
  engine::PolicyPass policy(context, "policy", parts.model, run.adapter.max_padded_rank,
                            engine::PolicyPass::Keep::kAllLayers);
  engine::PolicyPass base(context, "reference", parts.model, 0, engine::PolicyPass::Keep::kOneLayer);
  engine::GradientShards shards(context.ledger, config.gradient_shards, run.trainable);
  std::vector<double> step_times;
  bool interrupted = false;

  while (run.state.step < steps && !interrupted) {
    const Clock::time_point start = Clock::now();
    const data::PromptCursor cursor = run.prompts.cursor;
    const std::vector<int64_t> chosen = data::next_prompts(run.prompts, config.groups_per_step());

    std::optional<Rollouts> sampled = sample_rollouts(context, parts, config, run.adapter, chosen, run.state.step);
    if (!sampled) {  // Ctrl-C while sampling: the step never happened
      interrupted = true;
      run.state.cursor = cursor;
      break;
    }
    const Rollouts& rollouts = *sampled;
    const std::vector<double> parts_of_reward =
        TRY(rewards::score_all(parts.rewards, rollouts.for_rewards(parts.prompts)));

    std::vector<double> reference, penalties;
    if (wants_reference) reference = reference_logprobs(base, rollouts, config.temperature, micro_batch_tokens(config));
    if (wants_reference && config.kl_placement == "reward")
      for (double kl : algorithms::row_kl_k1({rollouts.offsets, {}}, rollouts.logprobs, reference))
        penalties.push_back(config.beta * kl);

    StepNumbers numbers;
    numbers.advantages = TRY(algorithms::group_advantages(parts_of_reward, parts.rewards.size(),
                                                          static_cast<size_t>(config.num_generations),
                                                          advantage_options(config), penalties));
    accumulate_gradients(run, rollouts, reference, policy, shards, numbers);
    numbers.grad_norm = engine::gradient_norm(context, run.trainable, shards.total().data());
    numbers.learning_rate = algorithms::learning_rate(schedule, run.state.step);
    TRY(check_step(run, numbers));

    engine::adamw_step(context, adamw, numbers.learning_rate, numbers.grad_norm, shards.total().data(), run.optimizer,
                       run.trainable);
    ++run.state.step;
    run.state.cursor = run.prompts.cursor;
    run.state.num_tokens += rollouts.tokens();
    const double step_time = seconds_since(start);
    run.state.seconds += step_time;
    step_times.push_back(step_time);

    algorithms::Metrics metrics = step_metrics(run, rollouts, numbers, wants_reference, step_time);
    const bool last = run.state.step == steps;
    if (parts.evaluate && config.eval_strategy == "steps" && (run.state.step % *config.eval_steps == 0 || last)) {
      const algorithms::Metrics evaluated = TRY(parts.evaluate(run.adapter, run.state.step));
      metrics.insert(metrics.end(), evaluated.begin(), evaluated.end());
    }
    TRY(run.metrics.write(metrics, last));
    for (const files::Json& row : completion_rows(rollouts, parts.prompts, run.state.step, config.reward_funcs,
                                                  parts_of_reward, numbers.advantages))
      TRY(run.completions.write(row));
    if (parts.report)
      parts.report({run.state.step, steps, &metrics, static_cast<double>(rollouts.tokens()) / step_time});
    interrupted = parts.interrupted && parts.interrupted();
    if (last || (config.save_strategy == "steps" && run.state.step % config.save_steps == 0)) TRY(save(run));
  }

  if (interrupted) TRY(save(run));
  if (run.state.step == steps)
    TRY(files::write_peft_adapter(std::filesystem::path(config.output_dir) / "final",
                                  engine::adapter_to_peft(run.adapter)));
  return GrpoResult{std::move(run.adapter), run.state.step,    run.state.num_tokens,
                    median(step_times),     run.state.seconds, interrupted && run.state.step < steps};
}

}  // namespace candor::recipes
