// Departures from TRL 1.16, all of which leave the estimator as it is:
//  * The loss's divisor and every mean are over the whole step: TRL averages its micro-batches' accuracies and
//    entropies, which differ in length. eval_loss is the mean over all tokens, not over batches.
//  * Rows are never padded and packed ones never see one another; tokens behind the last one that counts do not pass
//    through the model (num_tokens counts them all the same, as TRL does).
//  * shuffle_dataset, true by default, is the order of every epoch. TRL's key shuffles once before its sampler shuffles
//    again, so that its false is no file order.
//  * A row without a token that counts is dropped before training, where TRL trains on it without effect.
#include "recipes/sft.h"

#include <algorithm>
#include <cmath>

#include "base/sha256.h"
#include "engine/gradient_shards.h"
#include "recipes/metrics_log.h"
#include "recipes/sft_pass.h"

namespace candor::recipes {

namespace {

// One run: everything that lasts longer than a step.
struct Run {
  const SftConfig& config;
  const SftParts& parts;
  Trained trained;
  engine::AdamwState optimizer;
  TrainingState state;
  data::PromptStream rows;
  MetricsLog metrics;
  engine::Trainable trainable;  // points into `trained`
};

// What a step computed, for its row in metrics.jsonl.
struct StepNumbers {
  std::vector<algorithms::SftRow> rows;  // one for each sequence
  int64_t tokens = 0;                    // that pass through the model, as TRL counts them
  double loss = 0, grad_norm = 0, learning_rate = 0;
};

// The rows of the next step.
std::vector<const data::TrainingRow*> take_rows(Run& run) {
  std::vector<const data::TrainingRow*> rows;
  for (const int64_t i : next_rows(run.rows, run.config.rows_per_step())) rows.push_back(&run.parts.rows.rows[i]);
  return rows;
}

// Forward, loss and backward of a step, shard by shard; leaves the summed gradient in `shards`.
StepNumbers accumulate_gradients(Run& run, std::span<const data::TrainingRow* const> rows, engine::PolicyPass& pass,
                                 engine::GradientShards& shards) {
  StepNumbers numbers;
  int64_t label_tokens = 0;
  for (const data::TrainingRow* row : rows)
    for (const data::Sequence& sequence : row->sequences) {
      numbers.tokens += static_cast<int64_t>(sequence.ids.size());
      label_tokens += std::count(sequence.mask.begin(), sequence.mask.end(), 1);
    }
  const std::vector<SftDocument> documents = sft_documents(rows);
  pass.set_dropout(engine::DropoutKey{static_cast<uint64_t>(run.config.seed), static_cast<uint32_t>(run.state.step)});
  const auto ranges = engine::shard_ranges(static_cast<int64_t>(rows.size()), run.config.gradient_shards);
  shards.reduce(run.parts.context, [&](int64_t shard, float* gradients) {
    const auto at = [&](int64_t row) {
      return std::partition_point(documents.begin(), documents.end(),
                                  [&](const SftDocument& document) { return document.row < row; });
    };
    const std::span<const SftDocument> mine(at(ranges[shard].begin), at(ranges[shard].end));
    for (const std::span<const SftDocument> batch : sft_micro_batches(mine, micro_batch_tokens(run.config))) {
      const algorithms::SftLoss loss =
          sft_forward(pass, run.trained.adapter.get(), batch, label_tokens, loss_type(run.config));
      const std::vector<float> d_logprobs(loss.d_logprobs.begin(), loss.d_logprobs.end());
      pass.backward(run.trainable, d_logprobs, std::vector<float>(d_logprobs.size(), 0.0f), gradients);
      numbers.rows.insert(numbers.rows.end(), loss.rows.begin(), loss.rows.end());
    }
  });
  for (const algorithms::SftRow& row : numbers.rows) numbers.loss += row.loss;
  return numbers;
}

// The step's row, under the names of docs/metrics.md.
algorithms::Metrics step_metrics(const Run& run, const StepNumbers& numbers, double step_time) {
  algorithms::Metrics all = {{"step", static_cast<double>(run.state.step)},
                             {"epoch", epochs_seen(run.rows)},
                             {"loss", numbers.loss},
                             {"grad_norm", numbers.grad_norm},
                             {"learning_rate", numbers.learning_rate},
                             {"step_time", step_time},
                             {"num_tokens", static_cast<double>(run.state.num_tokens)}};
  const algorithms::Metrics more = algorithms::sft_metrics(numbers.rows);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// The held-out rows at this step. Where the step `saves` a checkpoint it may become the best one.
algorithms::Metrics evaluate(Run& run, bool saves) {
  const SftParts& parts = run.parts;
  const auto evaluation =
      evaluate_sft(parts.context, parts.model, run.trained.adapter.get(), *parts.held_out, loss_type(run.config),
                   [&](size_t done, size_t all) {
                     if (parts.doing) parts.doing(fmt::format("evaluating {}/{}", done, all));
                     return true;  // a step that is evaluated is evaluated whole, so that a resume has the same rows
                   });
  const algorithms::Metrics metrics = evaluation->metrics();
  if (saves) note_best(run.config, metrics, run.state);
  if (parts.say)
    parts.say(fmt::format("step {}: held out, loss {:.4f}, accuracy of tokens {:.1f}%", run.state.step,
                          metrics[0].value, 100 * metrics[2].value));
  return metrics;
}

Result<void> save(Run& run) {
  const SftConfig& config = run.config;
  TRY(run.metrics.sync());
  TRY(save_checkpoint(config.output_dir, run.state, run.parts.recipe_yaml,
                      TRY(trained_files(run.trained, files::FloatType::kFloat32)), run.optimizer));
  const int64_t best = config.load_best_model_at_end ? run.state.best_step : 0;
  if (config.save_total_limit) TRY(files::prune(config.output_dir, *config.save_total_limit, best));
  return {};
}

// What the rows are, whatever file they came from: runs of one digest train on the same tokens in the same order.
std::string digest_of(const data::SftSet& set) {
  Sha256 sum;
  auto add = [&](const auto& values) {
    sum.update({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])});
  };
  for (const data::TrainingRow& row : set.rows) {
    sum.update(fmt::format("{}\n", row.sequences.size()));
    for (const data::Sequence& sequence : row.sequences) {
      sum.update(fmt::format("{} ", sequence.ids.size()));
      add(sequence.ids);
      add(sequence.mask);
    }
  }
  return sum.hex();
}

}  // namespace

int64_t sft_steps(const SftConfig& config, int64_t rows) {
  if (config.max_steps > 0) return config.max_steps;
  const int64_t per_epoch = (rows + config.rows_per_step() - 1) / config.rows_per_step();
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::ceil(config.num_train_epochs * static_cast<double>(per_epoch))));
}

Result<SftStart> start_sft(const SftConfig& config, const engine::Context& context, engine::Model& model,
                           const files::ModelFiles& files, const data::SftSet& rows) {
  Trained trained = TRY(first_trained(config, context, model, files));
  engine::AdamwState optimizer = engine::make_adamw(context, trained.trainable());
  TrainingState state;
  state.kernels = context.kernels.name;
  state.dtype = engine::dtype_name(model.dtype);
  state.rows_sha256 = digest_of(rows);
  if (config.resume_from_checkpoint != "false")
    if (const auto newest = TRY(files::newest_complete(config.output_dir))) {
      TRY(load_training_state(*newest, config.resume_on_other_kernels, optimizer, state));
      TRY(read_trained(context, newest->path, trained));
    }
  data::PromptStream stream =
      TRY(data::open_prompt_stream(static_cast<int64_t>(rows.rows.size()), static_cast<uint64_t>(config.seed),
                                   config.shuffle_dataset, state.cursor));
  return SftStart{std::move(trained), std::move(optimizer), std::move(state), std::move(stream)};
}

Result<SftResult> run_sft(const SftConfig& config, const SftParts& parts, SftStart start) {
  const engine::Context& context = parts.context;
  const std::filesystem::path folder = config.output_dir;
  MetricsLog metrics_log = TRY(MetricsLog::resume(folder, start.state.step, config.logging_steps));
  engine::Trainable trainable = start.trained.trainable();
  Run run{config,
          parts,
          std::move(start.trained),
          std::move(start.optimizer),
          std::move(start.state),
          std::move(start.rows),
          std::move(metrics_log),
          std::move(trainable)};
  const int64_t steps = sft_steps(config, run.rows.count);
  const algorithms::Schedule schedule = learning_schedule(config, steps);
  const engine::AdamwOptions adamw = adamw_options(config);
  engine::PolicyPass pass(context, "policy", parts.model, run.trained.max_padded_rank(),
                          engine::PolicyPass::Keep::kAllLayers, most_activation_bytes(config));
  engine::GradientShards shards(context.ledger, config.gradient_shards, run.trainable);
  std::vector<double> step_times;
  bool interrupted = false;

  while (run.state.step < steps && !interrupted) {
    const Clock::time_point begin = Clock::now();
    const std::vector<const data::TrainingRow*> rows = take_rows(run);
    StepNumbers numbers = accumulate_gradients(run, rows, pass, shards);
    numbers.grad_norm = engine::gradient_norm(context, run.trainable, shards.total().data());
    numbers.learning_rate = algorithms::learning_rate(schedule, run.state.step);
    TRY(check_finite(config, "sft", run.state.step + 1, numbers.loss, numbers.grad_norm));

    engine::adamw_step(context, adamw, numbers.learning_rate, numbers.grad_norm, shards.total().data(), run.optimizer,
                       run.trainable);
    ++run.state.step;
    run.state.cursor = run.rows.cursor;
    run.state.num_tokens += numbers.tokens;
    const double step_time = seconds_since(begin);
    run.state.seconds += step_time;
    step_times.push_back(step_time);

    algorithms::Metrics metrics = step_metrics(run, numbers, step_time);
    const bool last = run.state.step == steps;
    const bool saves = last || (config.save_strategy == "steps" && run.state.step % config.save_steps == 0);
    if (config.eval_strategy == "steps" && (run.state.step % *config.eval_steps == 0 || last)) {
      const algorithms::Metrics evaluated = evaluate(run, saves);
      metrics.insert(metrics.end(), evaluated.begin(), evaluated.end());
    }
    TRY(run.metrics.write(metrics, last));
    if (parts.report) parts.report({run.state.step, steps, &metrics, static_cast<double>(numbers.tokens) / step_time});
    interrupted = parts.interrupted && parts.interrupted();
    if (saves) TRY(save(run));
  }

  interrupted = interrupted && run.state.step < steps;
  if (interrupted) TRY(save(run));
  if (!interrupted) {
    if (config.load_best_model_at_end && run.state.best_step != run.state.step)
      TRY(read_trained(context, folder / fmt::format("checkpoint-{}", run.state.best_step), run.trained));
    const auto type =
        parts.model.dtype == engine::Dtype::kBfloat16 ? files::FloatType::kBFloat16 : files::FloatType::kFloat32;
    TRY(write_folder_atomically(folder / "final", TRY(trained_files(run.trained, type)), IfThere::kReplace));
  }
  const int64_t kept = config.load_best_model_at_end ? run.state.best_step : run.state.step;
  return SftResult{std::move(run.trained), run.state.step,    kept,       run.state.num_tokens,
                   median(step_times),     run.state.seconds, interrupted};
}

}  // namespace candor::recipes
