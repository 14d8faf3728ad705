#include "recipes/memory_plan_preference.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <optional>

#include "engine/gradient_shards.h"
#include "recipes/kto.h"
#include "recipes/memory_plan_parts.h"
#include "recipes/micro_batches.h"
#include "recipes/reward_models.h"
#include "recipes/sft_pass.h"
#include "recipes/supervised.h"

namespace candor::recipes {

namespace {

using engine::BatchShape;
using Keep = engine::PolicyPass::Keep;
using Rows = std::vector<std::vector<GroupLength>>;

// Rows that are walked through at most to find the worst batch; a run over more is taken to meet it earlier.
constexpr int64_t kMostRows = 1 << 20;

std::vector<GroupLength> lengths_of(std::span<const engine::RolloutGroup> groups) {
  std::vector<GroupLength> lengths;
  for (const engine::RolloutGroup& group : groups) {
    lengths.push_back({static_cast<int64_t>(group.prompt.size()), {}});
    for (const auto& completion : group.completions)
      lengths.back().completions.push_back(static_cast<int64_t>(completion.size()));
  }
  return lengths;
}

// What a row is in a pass over log-probabilities, or over a scalar head's values behind the last token, where no head
// of the vocabulary is asked. tokens: by which rows are put together.
struct RowShape {
  int64_t tokens = 0;
  BatchShape shape;
};

enum class Pass {
  kLogprobs,
  kValues,
  kSteps
};  // kSteps: values too, of rows that are put together by all their tokens

RowShape shape_of(const std::vector<GroupLength>& groups, const PreferenceConfig& config, Pass pass) {
  RowShape row;
  BatchShape values;
  for (const GroupLength& group : groups) {
    const int64_t most = config.max_length.value_or(INT64_MAX);
    const int64_t prompt = std::min(group.prompt, most - 1);
    std::vector<int64_t> completions, behind;
    for (const int64_t length : group.completions) {
      completions.push_back(std::min(length, most - prompt));
      behind.push_back(completions.back() + 1);
    }
    row.shape.add(prompt, completions);
    values.add(prompt, behind);
  }
  row.tokens = row.shape.tokens;
  if (pass == Pass::kLogprobs) return row;
  row.shape = values;
  row.shape.entries = 0;
  if (pass == Pass::kSteps) row.tokens = values.tokens;
  return row;
}

std::vector<RowShape> shapes_of(const Rows& rows, const PreferenceConfig& config, Pass pass) {
  std::vector<RowShape> shapes;
  for (const auto& row : rows) shapes.push_back(shape_of(row, config, pass));
  return shapes;
}

// Rows [begin, end) cut where a pass is full.
void add_slices(std::span<const RowShape> rows, size_t begin, size_t end, int64_t budget, Batches& batches) {
  if (begin >= end) return;
  rows = rows.subspan(begin, end - begin);
  for (const auto& [first, last] : batches_within(rows.size(), budget, [&](size_t i) { return rows[i].tokens; })) {
    BatchShape batch;
    for (size_t i = first; i < last; ++i) batch += rows[i].shape;
    batches[batch.tokens].include(batch);
  }
}

// Calls act(begin, end) for rows [0, count) cut into local batches.
void each_local_batch(size_t count, const PreferenceConfig& config,
                      const std::function<void(size_t begin, size_t end)>& act) {
  const auto size = static_cast<size_t>(config.per_device_train_batch_size);
  for (size_t begin = 0; begin < count; begin += size) act(begin, std::min(begin + size, count));
}

// Calls act(rows of a step) along the run.
void each_step(const PreferenceConfig& config, int64_t rows, const std::function<void(std::span<const int64_t>)>& act) {
  auto stream = data::open_prompt_stream(rows, static_cast<uint64_t>(config.seed), config.shuffle_dataset);
  if (!stream) return;
  const int64_t steps =
      std::min(supervised_steps(config, rows, config.rows_per_step()), 1 + kMostRows / config.rows_per_step());
  for (int64_t step = 0; step < steps; ++step) act(next_rows(*stream, config.rows_per_step()));
}

std::vector<RowShape> taken(std::span<const RowShape> all, std::span<const int64_t> numbers) {
  std::vector<RowShape> rows;
  for (const int64_t number : numbers) rows.push_back(all[static_cast<size_t>(number)]);
  return rows;
}

// The passes of a step that have a way back: its shards, in them its local batches (or not), in these micro-batches.
void add_training(std::span<const RowShape> rows, const PreferenceConfig& config, bool by_local_batches,
                  Batches& batches) {
  for (const engine::ShardRange& shard :
       engine::shard_ranges(static_cast<int64_t>(rows.size()), config.gradient_shards)) {
    const auto first = static_cast<size_t>(shard.begin), last = static_cast<size_t>(shard.end);
    if (by_local_batches)
      each_local_batch(rows.size(), config, [&](size_t begin, size_t end) {
        add_slices(rows, std::max(begin, first), std::min(end, last), micro_batch_tokens(config), batches);
      });
    else
      add_slices(rows, first, last, micro_batch_tokens(config), batches);
  }
}

void plan_all(engine::PolicyPass& pass, const Batches& batches, const engine::Adapter* adapter,
              const engine::Trainable* trainable = nullptr) {
  for (const auto& [tokens, batch] : batches) pass.plan(batch, adapter, trainable);
}

// A pass that only looks, for as long as it takes.
void plan_look(const engine::Context& context, const char* name, const engine::Model& model,
               std::initializer_list<const engine::Adapter*> adapters, const Batches& batches) {
  int64_t rank = 0;
  for (const engine::Adapter* adapter : adapters)
    if (adapter != nullptr) rank = std::max(rank, adapter->max_padded_rank);
  engine::PolicyPass pass(context, name, model, rank, Keep::kOneLayer);
  for (const engine::Adapter* adapter : adapters) plan_all(pass, batches, adapter);
}

// The held-out reward's models, which score every side of the held-out pairs by itself and are gone before the
// training.
Result<void> plan_gold(const PreferenceConfig& config, engine::Planner& planner, const engine::Model& model,
                       const PlanBase& base, const Rows& held_out) {
  const RolloutConfig gold = gold_recipe(config);
  if (!names_reward_models(gold)) return {};
  std::vector<BatchShape> sides;
  for (const auto& row : held_out)
    for (const GroupLength& group : row)
      for (const int64_t completion : group.completions)
        sides.push_back(shape_of({{group.prompt, {completion}}}, config, Pass::kValues).shape);
  RewardModels models;
  TRY(models.load(gold, planner.context(), model, base.files, "gold"));
  planner.phase("held-out reward", [&] { models.plan(sides); });
  return {};
}

// What the passes of such a run see.
struct Course {
  Batches training;         // the policy's, with a way back
  Batches before_training;  // whole local batches, which the policy's pass sees without a way back
  Batches looking;          // which another pass sees under the reference and, of kto, the policy
  bool policy_looks = false;
  Batches evaluation;
  bool policy_alone = true;                           // an evaluation asks the reference for nothing
  std::optional<engine::SamplingShape> answers = {};  // that are sampled before and after
};

// The reference is this adapter as it was (null: the model alone).
Result<engine::MemoryPlan> plan_course(const PreferenceConfig& config, engine::Planner& planner, engine::Model& model,
                                       const PlanBase& base, const engine::Adapter* reference, const Course& course,
                                       WithHead with_head = WithHead::kNo) {
  const engine::Context& context = planner.context();
  const auto evaluate = [&](const engine::Adapter* adapter) {
    if (course.policy_alone)
      plan_look(context, "evaluation", model, {adapter}, course.evaluation);
    else
      plan_look(context, "evaluation", model, {reference, adapter}, course.evaluation);
  };
  const auto measure = [&](const engine::Adapter* adapter) {
    evaluate(adapter);
    engine::SamplingOptions greedy;
    greedy.temperature = 0;
    if (course.answers) engine::plan_sampling(context, model, adapter, *course.answers, greedy);
  };
  if (!course.evaluation.empty()) planner.phase("evaluation before", [&] { measure(reference); });
  const Trained trained = TRY(first_trained(config, context, model, base.files, with_head));
  const engine::Adapter* adapter = trained.adapter.get();
  {
    const engine::Trainable trainable = trained.trainable();
    const engine::AdamwState optimizer = engine::make_adamw(context, trainable);
    const int64_t rank = std::max(reference == nullptr ? int64_t{0} : reference->max_padded_rank,
                                  course.policy_looks ? trained.max_padded_rank() : 0);
    engine::PolicyPass looking(context, "reference", model, rank, Keep::kOneLayer);
    engine::PolicyPass pass(context, "policy", model, trained.max_padded_rank(), Keep::kAllLayers,
                            most_activation_bytes(config));
    const engine::GradientShards shards(context.ledger, config.gradient_shards, trainable);
    const auto train = [&] {
      plan_all(looking, course.looking, reference);
      if (course.policy_looks) plan_all(looking, course.looking, adapter);
      plan_all(pass, course.before_training, adapter);
      plan_all(pass, course.training, adapter, &trainable);
    };
    train();  // passes keep their buffers from step to step
    planner.phase("training", train);
    if (!course.evaluation.empty() && (config.eval_strategy == "steps" || config.has_gold()))
      planner.phase("evaluation", [&] { evaluate(adapter); });
    plan_checkpoint(planner, adapter, trained.head.get());
  }
  if (!course.evaluation.empty()) planner.phase("evaluation after", [&] { measure(adapter); });
  return planner.take();
}

// The adapter that the run begins with, which is its reference; none: the model alone is.
Result<std::optional<engine::Adapter>> plan_reference(const PreferenceConfig& config, const engine::Context& context,
                                                      const engine::Model& model) {
  if (config.adapter_name_or_path.empty()) return std::optional<engine::Adapter>();
  return std::optional<engine::Adapter>(TRY(first_adapter(config, context, model)));
}

}  // namespace

PreferenceWorkload preference_workload(const data::PairSet& train, const data::PairSet* held_out, bool prompt_counts) {
  const auto lengths = [&](const data::PairSet& set) {
    Rows rows;
    for (const data::PreferencePair& pair : set.rows)
      rows.push_back(lengths_of(pair_groups(pair, 0, prompt_counts).groups));
    return rows;
  };
  return {lengths(train), held_out == nullptr ? Rows() : lengths(*held_out)};
}

PreferenceWorkload preference_workload(const data::LabelledSet& train, const data::LabelledSet* held_out) {
  const auto lengths = [](const data::LabelledSet& set) {
    Rows rows;
    for (const data::LabelledAnswer& row : set.rows) {
      const engine::RolloutGroup group = answer_group(row.answer, 0);
      rows.push_back(lengths_of({&group, 1}));
    }
    return rows;
  };
  return {lengths(train), held_out == nullptr ? Rows() : lengths(*held_out)};
}

PreferenceWorkload preference_workload(const data::StepwiseSet& train, const data::StepwiseSet* held_out) {
  const auto lengths = [](const data::StepwiseSet& set) {
    Rows rows;  // what is behind the last label does not pass through the model
    for (const data::StepwiseRow& row : set.rows) rows.push_back({{1, {row.ends.back()}}});
    return rows;
  };
  return {lengths(train), held_out == nullptr ? Rows() : lengths(*held_out)};
}

PreferenceWorkload preference_workload(const PreferenceConfig& config, int64_t context_length, int64_t completions) {
  const int64_t length = std::min(config.max_length.value_or(context_length), context_length);
  const std::vector<GroupLength> row = {
      {1, std::vector<int64_t>(static_cast<size_t>(completions), std::max<int64_t>(1, length - 1))}};
  PreferenceWorkload workload;
  workload.train.assign(static_cast<size_t>(std::min(config.rows_per_step(), kMostRows)), row);
  if (!config.eval_dataset.empty()) workload.held_out = workload.train;
  return workload;
}

Result<engine::MemoryPlan> plan_pairs(const PreferenceConfig& config, const PairLoss& loss, bool precomputes,
                                      const PlanBase& base, const PreferenceWorkload& workload) {
  const std::vector<RowShape> train = shapes_of(workload.train, config, Pass::kLogprobs);
  const std::vector<RowShape> held_out = shapes_of(workload.held_out, config, Pass::kLogprobs);
  Course course;
  course.answers = workload.answers;
  each_step(config, static_cast<int64_t>(train.size()), [&](std::span<const int64_t> numbers) {
    const std::vector<RowShape> rows = taken(train, numbers);
    add_training(rows, config, true, course.training);
    if (loss.looks_at_the_batch)
      each_local_batch(rows.size(), config, [&](size_t begin, size_t end) {
        add_slices(rows, begin, end, micro_batch_tokens(config), course.before_training);
      });
  });
  if (loss.has_reference && !precomputes)
    course.looking = loss.looks_at_the_batch ? course.before_training : course.training;
  each_local_batch(held_out.size(), config, [&](size_t begin, size_t end) {
    add_slices(held_out, begin, end, kEvaluationTokens, course.evaluation);
  });

  engine::Planner planner(base.kernels, base.pool);
  const engine::Context& context = planner.context();
  engine::Model model = TRY(plan_base(planner, config, base));
  const std::optional<engine::Adapter> reference = TRY(plan_reference(config, context, model));
  const engine::Adapter* given = reference ? &*reference : nullptr;
  if (loss.has_reference && precomputes) {
    Batches all;
    add_slices(train, 0, train.size(), kEvaluationTokens, all);
    planner.phase("reference", [&] { plan_look(context, "reference", model, {given}, all); });
    int64_t logprobs = 0;
    for (const RowShape& row : train) logprobs += row.shape.entries;
    planner.hold("data", "reference log-probabilities", logprobs * static_cast<int64_t>(sizeof(double)));
  }
  if (config.has_gold()) TRY(plan_gold(config, planner, model, base, workload.held_out));
  return plan_course(config, planner, model, base, given, course);
}

Result<engine::MemoryPlan> plan_kto(const KtoConfig& config, const PlanBase& base, const PreferenceWorkload& workload) {
  // What the baseline of rows [begin, end), one local batch, looks at.
  const auto add_baseline = [&](const Rows& rows, size_t begin, size_t end, bool trains, Batches& batches) {
    std::vector<RowShape> looked;
    for (size_t i = begin; i < end; ++i) {
      const size_t before = begin + (i - begin + end - begin - 1) % (end - begin);
      const size_t completion = config.loss_type == "kto" ? before : i;
      looked.push_back(shape_of({{rows[i][0].prompt, rows[completion][0].completions}}, config, Pass::kLogprobs));
    }
    if (config.loss_type == "kto" || (config.loss_type == "bco" && trains))
      add_slices(looked, 0, looked.size(), kEvaluationTokens, batches);
  };
  const std::vector<RowShape> train = shapes_of(workload.train, config, Pass::kLogprobs);
  const std::vector<RowShape> held_out = shapes_of(workload.held_out, config, Pass::kLogprobs);
  Course course;
  course.answers = workload.answers;
  course.policy_looks = config.loss_type != "apo_zero_unpaired";
  course.policy_alone = false;
  each_step(config, static_cast<int64_t>(train.size()), [&](std::span<const int64_t> numbers) {
    add_training(taken(train, numbers), config, true, course.training);
    Rows rows;
    for (const int64_t number : numbers) rows.push_back(workload.train[static_cast<size_t>(number)]);
    each_local_batch(rows.size(), config,
                     [&](size_t begin, size_t end) { add_baseline(rows, begin, end, true, course.looking); });
  });
  for (const auto& [tokens, batch] : course.training) course.looking[tokens].include(batch);
  each_local_batch(held_out.size(), config, [&](size_t begin, size_t end) {
    add_baseline(workload.held_out, begin, end, false, course.evaluation);
    add_slices(held_out, begin, end, kEvaluationTokens, course.evaluation);
  });

  engine::Planner planner(base.kernels, base.pool);
  engine::Model model = TRY(plan_base(planner, config, base));
  const std::optional<engine::Adapter> reference = TRY(plan_reference(config, planner.context(), model));
  return plan_course(config, planner, model, base, reference ? &*reference : nullptr, course);
}

namespace {

// Recipes that train a scalar head.
Result<engine::MemoryPlan> plan_values(const PreferenceConfig& config, const PlanBase& base,
                                       const PreferenceWorkload& workload, Pass pass, WithHead with_head) {
  const std::vector<RowShape> train = shapes_of(workload.train, config, pass);
  const std::vector<RowShape> held_out = shapes_of(workload.held_out, config, pass);
  Course course;
  each_step(config, static_cast<int64_t>(train.size()), [&](std::span<const int64_t> numbers) {
    add_training(taken(train, numbers), config, false, course.training);
  });
  add_slices(held_out, 0, held_out.size(), kEvaluationTokens, course.evaluation);

  engine::Planner planner(base.kernels, base.pool);
  engine::Model model = TRY(plan_base(planner, config, base, with_head));
  return plan_course(config, planner, model, base, nullptr, course, with_head);
}

}  // namespace

Result<engine::MemoryPlan> plan_reward(const RewardConfig& config, const PlanBase& base,
                                       const PreferenceWorkload& workload) {
  return plan_values(config, base, workload, Pass::kValues, reward_head(config));
}

Result<engine::MemoryPlan> plan_prm(const PrmConfig& config, const PlanBase& base, const PreferenceWorkload& workload) {
  return plan_values(config, base, workload, Pass::kSteps, WithHead::kSteps);
}

}  // namespace candor::recipes
