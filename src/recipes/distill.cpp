// Departures from the papers and from TRL (GKDTrainer 1.16, MiniLLMTrainer 1.14.2):
//  * Whose completions a step takes is drawn once for the step; TRL draws for each micro-batch.
//  * The loss's divisor is the number of counted tokens of what the step trains on. TRL divides sampled completions by
//    the number of the rows' own.
//  * GKD compares at kd_temperature, 1 by default, where TRL always compares at 1; sampling is at `temperature`, as in
//    TRL. Nothing is multiplied by the temperature's square.
//  * A sampled completion ends with the model's own end of sequence; TRL's rows end with the chat template.
//  * MiniLLM here is what the teacher gives, without further rewards and with one completion of a prompt; the advantage
//    is constant (TRL leaves it attached to the student). On the student's own completions the ratio of its policy
//    gradient is 1, so that the loss of a token is −A and its derivative −A.
#include "recipes/distill.h"

#include <algorithm>
#include <cmath>

#include "algorithms/completion_metrics.h"
#include "algorithms/distillation.h"
#include "base/check.h"
#include "base/rng.h"
#include "engine/sampler.h"
#include "guard/rollout_signals.h"
#include "recipes/micro_batches.h"
#include "recipes/sft_pass.h"

namespace candor::recipes {

namespace {

using engine::PolicyPass;

struct Passes {
  PolicyPass& student;
  PolicyPass& teacher;
};

// Student and teacher on neighbouring rows: numbers of every counted token, row by row.
struct Compared {
  engine::HeadOutput student, teacher;
  engine::Divergence divergence;
  engine::HeadView of_teacher;
  std::vector<int64_t> offsets = {0};  // of the rows
};

Compared compare(const DistillConfig& config, Passes passes, const engine::Adapter* adapter,
                 const engine::Adapter* of_teacher, std::span<const DistillDocument> documents) {
  std::vector<engine::RolloutGroup> students, teachers;
  Compared out;
  for (const DistillDocument& document : documents) {
    students.push_back(document.student);
    teachers.push_back(document.teacher);
    const auto& mask = document.student.masks[0];
    out.offsets.push_back(out.offsets.back() + std::count(mask.begin(), mask.end(), 1));
  }
  out.student = passes.student.forward(adapter, students, config.kd_temperature);
  out.teacher = passes.teacher.forward(of_teacher, teachers, config.kd_temperature);
  out.of_teacher = passes.teacher.head_view();
  out.divergence = passes.student.divergence(out.of_teacher, config.divergence_beta());
  return out;
}

// All but the loss.
std::vector<DistilledRow> measured(const Compared& compared) {
  std::vector<DistilledRow> rows(compared.offsets.size() - 1);
  for (size_t i = 0; i < rows.size(); ++i)
    for (auto t = static_cast<size_t>(compared.offsets[i]); t < static_cast<size_t>(compared.offsets[i + 1]); ++t) {
      rows[i].divergence += compared.divergence.values[t];
      rows[i].entropy += static_cast<double>(compared.student.entropy[t]);
      rows[i].agreed += compared.student.argmax[t] == compared.teacher.argmax[t];
      ++rows[i].tokens;
    }
  return rows;
}

std::vector<std::span<const DistillDocument>> micro_batches(std::span<const DistillDocument> documents,
                                                            int64_t budget) {
  std::vector<std::span<const DistillDocument>> batches;
  for (const auto& [begin, end] :
       batches_within(documents.size(), budget, [&](size_t i) { return documents[i].tokens; }))
    batches.push_back(documents.subspan(begin, end - begin));
  return batches;
}

// One step at work.
class DistillStep {
 public:
  DistillStep(const DistillConfig& config, const DistillParts& parts, std::span<const int64_t> numbers,
              const StepContext& at, PolicyPass& teacher)
      : config_(config),
        parts_(parts),
        at_(at),
        teacher_(teacher),
        source_(completions_of(config, at.state.step)),
        minillm_{config.gamma, config.length_normalization} {
    for (const int64_t number : numbers) rows_.push_back(parts.rows.rows[static_cast<size_t>(number)]);
  }

  Result<SupervisedStep> run() {
    if (source_ != CompletionsOf::kRows) sample();
    std::vector<DistillDocument> documents;
    SupervisedStep step;
    for (const DistillRow& row : rows_) {
      documents.push_back(distill_document(row, static_cast<int64_t>(documents.size()),
                                           source_ == CompletionsOf::kRows ? 0 : room(row)));
      step.tokens += static_cast<int64_t>(row.prompt.size() + row.completion.size());
      counted_ += row.counted();
    }
    const auto ranges = engine::shard_ranges(static_cast<int64_t>(rows_.size()), config_.gradient_shards);
    at_.shards.reduce(parts_.run.context, [&](int64_t shard, float* gradients) {
      const std::span<const DistillDocument> mine = std::span(documents).subspan(
          static_cast<size_t>(ranges[shard].begin), static_cast<size_t>(ranges[shard].end - ranges[shard].begin));
      for (const auto batch : micro_batches(mine, micro_batch_tokens(config_))) train(batch, gradients);
    });
    TRY(check_gap());
    for (const DistilledRow& row : done_) step.loss += row.loss;
    step.metrics = distill_metrics(done_);
    step.metrics.push_back({"on_policy", source_ == CompletionsOf::kStudent ? 1.0 : 0.0});
    if (source_ != CompletionsOf::kRows) {
      const algorithms::Metrics lengths = algorithms::completion_metrics(lengths_, finished_);
      step.metrics.insert(step.metrics.end(), lengths.begin(), lengths.end());
    }
    if (source_ == CompletionsOf::kStudent) {
      step.metrics.push_back({"sampling/max_abs_logprob_gap", gap_});
      step.samples = seen(step.metrics);
    }
    return step;
  }

 private:
  // What the guard sees of the student's own completions. Nothing rewards them; what rises where they become better is
  // the divergence, taken negative.
  SeenSamples seen(const algorithms::Metrics& metrics) const {
    const std::vector<double> unrewarded(rows_.size(), std::nan(""));
    const std::vector<std::string> texts(rows_.size());  // are not decoded here
    guard::RolloutView view;
    view.rewards = unrewarded;
    view.texts = texts;
    for (const DistillRow& row : rows_) view.ids.emplace_back(row.completion);
    view.finished = finished_;
    view.entropies = entropies_;
    SeenSamples seen{guard::rollout_signals(view), metrics};
    for (const algorithms::Metric& metric : metrics)
      if (metric.name == "divergence") seen.known.push_back({"reward", -metric.value});
    return seen;
  }

  const engine::Model& sampling_model() const {
    return source_ == CompletionsOf::kStudent ? parts_.run.model : *parts_.teacher.model;
  }

  // Tokens of the longest completion that the row's prompt leaves room for.
  int64_t room(const DistillRow& row) const { return sampling_room(config_, parts_, row); }

  static int64_t sampling_room(const DistillConfig& config, const DistillParts& parts, const DistillRow& row) {
    const int64_t of_student = parts.run.model.config.max_positions - static_cast<int64_t>(row.prompt.size());
    const int64_t of_teacher =
        parts.teacher.model->config.max_positions - static_cast<int64_t>(row.teacher_prompt.size());
    return std::max<int64_t>(1, std::min({config.max_new_tokens, of_student, of_teacher}));
  }

  // Puts sampled completions in the place of the rows' own.
  void sample() {
    const bool own = source_ == CompletionsOf::kStudent;
    std::vector<engine::SampleRequest> requests;
    for (const DistillRow& row : rows_) requests.push_back({own ? row.prompt : row.teacher_prompt, 1, room(row)});
    engine::SamplingOptions options;
    options.temperature = config_.temperature;
    options.max_new_tokens = config_.max_new_tokens;
    options.stop_ids = parts_.stop_ids;
    options.seed = static_cast<uint64_t>(config_.seed);
    options.step = static_cast<uint32_t>(at_.state.step);
    engine::SamplingCallbacks callbacks;
    if (parts_.run.doing)
      callbacks.progress = [&](int64_t done, int64_t) {
        parts_.run.doing(fmt::format("sampling {}/{}", done, rows_.size()));
      };
    auto sampled = engine::sample(parts_.run.context, sampling_model(),
                                  own ? at_.trained.adapter.get() : parts_.teacher.adapter_or_null(), requests, options,
                                  nullptr, callbacks);
    for (size_t i = 0; i < rows_.size(); ++i) {
      engine::Completion& completion = sampled[i][0];
      lengths_.push_back(static_cast<int64_t>(completion.ids.size()));
      finished_.push_back(completion.finished ? 1 : 0);
      entropies_.insert(entropies_.end(), completion.entropy.begin(), completion.entropy.end());
      // Of the two temperatures at which the sampler knows its log-probabilities, the one of the comparison.
      if (own && config_.kd_temperature == config_.temperature)
        sampled_logprobs_.push_back(std::move(completion.policy_logprobs));
      else if (own && config_.kd_temperature == 1.0)
        sampled_logprobs_.push_back(std::move(completion.logprobs));
      rows_[i].mask.assign(completion.ids.size(), 1);
      rows_[i].completion = std::move(completion.ids);
    }
  }

  void train(std::span<const DistillDocument> batch, float* gradients) {
    const Compared compared =
        compare(config_, {at_.pass, teacher_}, at_.trained.adapter.get(), parts_.teacher.adapter_or_null(), batch);
    std::vector<DistilledRow> rows = measured(compared);
    note_gap(compared);
    const auto divisor = static_cast<double>(std::max<int64_t>(counted_, 1));
    const auto share = static_cast<float>(1.0 / divisor);
    const size_t tokens = compared.student.logprobs.size();
    std::vector<float> of_divergence, of_logprob;
    if (!config_.minillm() || config_.single_step_decomposition) {
      of_divergence.assign(tokens, share);
      for (DistilledRow& row : rows) row.loss += row.divergence / divisor;
    }
    if (config_.minillm() && config_.rkl_advantage) {
      const std::vector<double> advantages = advantages_of(compared);
      for (size_t i = 0; i < rows.size(); ++i) {
        double sum = 0;
        for (auto t = static_cast<size_t>(compared.offsets[i]); t < static_cast<size_t>(compared.offsets[i + 1]); ++t) {
          sum -= advantages[t];
          of_logprob.push_back(static_cast<float>(-advantages[t] / divisor));
        }
        rows[i].loss += sum / divisor;
      }
    }
    engine::HeadDerivatives derivatives{of_logprob, {}};
    if (!of_divergence.empty()) {
      derivatives.divergence = of_divergence;
      derivatives.other = &compared.of_teacher;
      derivatives.diverged = &compared.divergence;
    }
    at_.pass.backward(at_.trainable, derivatives, gradients);
    done_.insert(done_.end(), rows.begin(), rows.end());
  }

  std::vector<double> advantages_of(const Compared& compared) const {
    const std::vector<double> student(compared.student.logprobs.begin(), compared.student.logprobs.end());
    const std::vector<double> teacher(compared.teacher.logprobs.begin(), compared.teacher.logprobs.end());
    return algorithms::minillm_advantages({compared.offsets, {}}, student, teacher, minillm_);
  }

  // Of rows that follow those that are done.
  void note_gap(const Compared& compared) {
    if (sampled_logprobs_.empty()) return;
    size_t entry = 0;
    for (size_t i = 0; i + 1 < compared.offsets.size(); ++i)
      for (const float sampled : sampled_logprobs_[done_.size() + i]) {
        const double difference =
            std::abs(static_cast<double>(sampled) - static_cast<double>(compared.student.logprobs[entry++]));
        gap_ = std::isnan(difference) ? difference : std::max(gap_, difference);
      }
  }

  Result<void> check_gap() const {
    if (gap_ == 0) return {};
    return error(
        "[distill] step {}: the sampler's and the trainer's log-probabilities differ by {}; they must be equal. This "
        "is "
        "a bug in candor, or the memory of this machine is faulty.",
        at_.state.step + 1, gap_);
  }

  const DistillConfig& config_;
  const DistillParts& parts_;
  const StepContext& at_;
  PolicyPass& teacher_;
  CompletionsOf source_;
  algorithms::MinillmOptions minillm_;
  std::vector<DistillRow> rows_;
  int64_t counted_ = 0;
  std::vector<int64_t> lengths_;  // of sampled completions
  std::vector<uint8_t> finished_;
  std::vector<double> entropies_;  // of the sampler
  std::vector<std::vector<float>>
      sampled_logprobs_;  // of the student's; empty: not at the temperature of the comparison
  std::vector<DistilledRow> done_;
  double gap_ = 0;
};

algorithms::Metrics evaluation_metrics(std::span<const DistilledRow> rows) {
  algorithms::Metrics all;
  for (const algorithms::Metric& metric : distill_metrics(rows))
    all.push_back({"eval_" + (metric.name == "divergence" ? std::string("loss") : metric.name), metric.value});
  return all;
}

}  // namespace

algorithms::Metrics distill_metrics(std::span<const DistilledRow> rows) {
  DistilledRow sum;
  for (const DistilledRow& row : rows) {
    sum.divergence += row.divergence;
    sum.entropy += row.entropy;
    sum.tokens += row.tokens;
    sum.agreed += row.agreed;
  }
  const auto tokens = static_cast<double>(std::max<int64_t>(sum.tokens, 1));
  return {{"divergence", sum.divergence / tokens},
          {"entropy", sum.entropy / tokens},
          {"agreement", static_cast<double>(sum.agreed) / tokens}};
}

CompletionsOf completions_of(const DistillConfig& config, int64_t step) {
  // A stream of its own within the data's: no row of a batch has this number.
  const RngKey key{static_cast<uint64_t>(config.seed), RngStream::kData, static_cast<uint32_t>(step), UINT32_MAX};
  if (random_uniform(key, 0) < config.lmbda) return CompletionsOf::kStudent;
  return config.seq_kd ? CompletionsOf::kTeacher : CompletionsOf::kRows;
}

std::optional<std::vector<DistilledRow>> evaluate_distill(const DistillConfig& config, const engine::Context& context,
                                                          const engine::Model& model, const engine::Adapter* adapter,
                                                          const engine::Role& teacher, const DistillSet& set,
                                                          const std::function<bool(size_t done, size_t all)>& ready) {
  std::vector<DistillDocument> documents;
  for (const DistillRow& row : set.rows) documents.push_back(distill_document(row, 0));
  PolicyPass student(context, "evaluation", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                     PolicyPass::Keep::kOneLayer);
  PolicyPass of_teacher(context, "teacher", *teacher.model, teacher.adapter ? teacher.adapter->max_padded_rank : 0,
                        PolicyPass::Keep::kOneLayer);
  std::vector<DistilledRow> rows;
  for (const auto batch : micro_batches(documents, kEvaluationTokens)) {
    const auto more = measured(compare(config, {student, of_teacher}, adapter, teacher.adapter_or_null(), batch));
    rows.insert(rows.end(), more.begin(), more.end());
    if (!ready(rows.size(), documents.size())) return std::nullopt;
  }
  return rows;
}

Result<SupervisedStart> start_distill(const DistillConfig& config, const engine::Context& context, engine::Model& model,
                                      const files::ModelFiles& files, const DistillSet& rows) {
  return start_supervised(config, context, model, files, static_cast<int64_t>(rows.rows.size()), digest_of(rows));
}

Result<SupervisedResult> run_distill(const DistillConfig& config, const DistillParts& parts, SupervisedStart start) {
  // Where every weight trains the model is no teacher of itself.
  CHECK(start.trained.adapter || parts.teacher.model != &parts.run.model);
  CHECK(parts.teacher.model->config.vocab_size == parts.run.model.config.vocab_size);
  PolicyPass teacher(parts.run.context, "teacher", *parts.teacher.model,
                     parts.teacher.adapter ? parts.teacher.adapter->max_padded_rank : 0, PolicyPass::Keep::kOneLayer);
  SupervisedTask task;
  task.recipe = "distill";
  task.rows_per_step = config.rows_per_step();
  task.accumulate = [&](std::span<const int64_t> rows, const StepContext& step) {
    return DistillStep(config, parts, rows, step, teacher).run();
  };
  task.evaluate = [&](Trained& trained,
                      const std::function<void(const std::string&)>& say) -> Result<algorithms::Metrics> {
    const auto rows = evaluate_distill(config, parts.run.context, parts.run.model, trained.adapter.get(), parts.teacher,
                                       *parts.held_out, [&](size_t done, size_t all) {
                                         if (parts.run.doing)
                                           parts.run.doing(fmt::format("evaluating {}/{}", done, all));
                                         return true;  // whole, so that a resume has the same rows
                                       });
    const algorithms::Metrics metrics = evaluation_metrics(*rows);
    say(fmt::format("held out, {:.4f} nats per token from the teacher, the same likeliest token in {:.1f}%",
                    metrics[0].value, 100 * metrics[2].value));
    return metrics;
  };
  return run_supervised(config, parts.run, task, std::move(start));
}

}  // namespace candor::recipes
