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

#include "base/sha256.h"
#include "recipes/sft_pass.h"

namespace candor::recipes {

namespace {

// Forward, loss and backward of a step, shard by shard.
SupervisedStep accumulate(const SftConfig& config, const SftParts& parts, std::span<const int64_t> numbers,
                          const StepContext& at) {
  std::vector<const data::TrainingRow*> rows;
  for (const int64_t i : numbers) rows.push_back(&parts.rows.rows[i]);
  SupervisedStep step;
  int64_t label_tokens = 0;
  for (const data::TrainingRow* row : rows)
    for (const data::Sequence& sequence : row->sequences) {
      step.tokens += static_cast<int64_t>(sequence.ids.size());
      label_tokens += std::count(sequence.mask.begin(), sequence.mask.end(), 1);
    }
  const std::vector<SftDocument> documents = sft_documents(rows);
  const auto ranges = engine::shard_ranges(static_cast<int64_t>(rows.size()), config.gradient_shards);
  std::vector<algorithms::SftRow> measured;  // one for each sequence
  at.shards.reduce(parts.run.context, [&](int64_t shard, float* gradients) {
    const auto first_of = [&](int64_t row) {
      return std::partition_point(documents.begin(), documents.end(),
                                  [&](const SftDocument& document) { return document.row < row; });
    };
    const std::span<const SftDocument> mine(first_of(ranges[shard].begin), first_of(ranges[shard].end));
    for (const std::span<const SftDocument> batch : sft_micro_batches(mine, micro_batch_tokens(config))) {
      const algorithms::SftLoss loss = sft_forward(at.pass, at.trained.adapter.get(), batch, label_tokens,
                                                   loss_type(config), config.label_smoothing_factor);
      const std::vector<float> by_logprob(loss.d_logprobs.begin(), loss.d_logprobs.end());
      const std::vector<float> by_mean(loss.d_mean_logprobs.begin(), loss.d_mean_logprobs.end());
      at.pass.backward(at.trainable, engine::HeadDerivatives{by_logprob, {}, by_mean}, gradients);
      measured.insert(measured.end(), loss.rows.begin(), loss.rows.end());
    }
  });
  for (const algorithms::SftRow& row : measured) step.loss += row.loss;
  step.metrics = algorithms::sft_metrics(measured);
  return step;
}

algorithms::Metrics evaluate(const SftConfig& config, const SftParts& parts, const Trained& trained,
                             const std::function<void(const std::string&)>& say) {
  const auto evaluation = evaluate_sft(parts.run.context, parts.run.model, trained.adapter.get(), *parts.held_out,
                                       loss_type(config), parts.run.count_evaluated(), config.label_smoothing_factor);
  const algorithms::Metrics metrics = evaluation->metrics();
  say(fmt::format("held out, loss {:.4f}, accuracy of tokens {:.1f}%", metrics[0].value, 100 * metrics[2].value));
  return metrics;
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
  return supervised_steps(config, rows, config.rows_per_step());
}

Result<SftStart> start_sft(const SftConfig& config, const engine::Context& context, engine::Model& model,
                           const files::ModelFiles& files, const data::SftSet& rows) {
  return start_supervised(config, context, model, files, static_cast<int64_t>(rows.rows.size()), digest_of(rows));
}

Result<SftResult> run_sft(const SftConfig& config, const SftParts& parts, SftStart start) {
  SupervisedTask task;
  task.recipe = "sft";
  task.rows_per_step = config.rows_per_step();
  task.accumulate = [&](std::span<const int64_t> rows, const StepContext& step) -> Result<SupervisedStep> {
    return accumulate(config, parts, rows, step);
  };
  task.evaluate = [&](Trained& trained,
                      const std::function<void(const std::string&)>& say) -> Result<algorithms::Metrics> {
    return evaluate(config, parts, trained, say);
  };
  return run_supervised(config, parts.run, task, std::move(start));
}

}  // namespace candor::recipes
