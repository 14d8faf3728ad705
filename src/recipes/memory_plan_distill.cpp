#include "recipes/memory_plan_distill.h"

#include <algorithm>

#include "base/check.h"
#include "engine/gradient_shards.h"
#include "recipes/distill.h"
#include "recipes/memory_plan_parts.h"
#include "recipes/micro_batches.h"
#include "recipes/sft_pass.h"
#include "recipes/trained.h"
#include "recipes/training_run.h"

namespace candor::recipes {

namespace {

using engine::BatchShape;
using engine::PolicyPass;

// Rows that are walked through at most to find the worst batch; a run over more is taken to meet it earlier.
constexpr int64_t kMostRows = 1 << 20;

// What the steps of a run put through student and teacher, and whether some of them sample, and with which.
struct Steps {
  Batches student, teacher;
  bool student_samples = false, teacher_samples = false;
};

BatchShape shape_of(int64_t prompt, int64_t completion, int64_t counted) {
  BatchShape shape;
  shape.add(prompt, {&completion, 1});
  shape.entries = counted;
  return shape;
}

// Rows side by side: as the passes of student and teacher have them.
void add_rows(const std::vector<DistillLength>& rows, int64_t budget, Batches& student, Batches& teacher) {
  std::vector<BatchShape> students, teachers;
  for (const DistillLength& row : rows) {
    students.push_back(shape_of(row.prompt, row.completion, row.counted));
    teachers.push_back(shape_of(row.teacher_prompt, row.completion, row.counted));
  }
  const auto tokens = [&](size_t i) { return std::max(students[i].tokens, teachers[i].tokens); };
  for (const auto& [begin, end] : batches_within(rows.size(), budget, tokens)) {
    BatchShape of_student, of_teacher;
    for (size_t i = begin; i < end; ++i) of_student += students[i], of_teacher += teachers[i];
    student[of_student.tokens].include(of_student);
    teacher[of_teacher.tokens].include(of_teacher);
  }
}

// Cut to what the recipe lets through, as advice to lower max_length would have it.
DistillLength cut(DistillLength row, const DistillConfig& config) {
  if (!config.max_length) return row;
  const int64_t told = row.teacher_prompt - row.prompt;
  row.prompt = std::min(row.prompt, *config.max_length - 1);
  row.teacher_prompt = std::max<int64_t>(1, row.prompt + told);
  row.completion = std::min(row.completion, *config.max_length - row.prompt);
  row.counted = std::min(row.counted, row.completion);
  return row;
}

Steps steps_of(const DistillConfig& config, const std::vector<DistillLength>& rows, int64_t context) {
  Steps all;
  const auto count = static_cast<int64_t>(rows.size());
  auto stream = data::open_prompt_stream(count, static_cast<uint64_t>(config.seed), config.shuffle_dataset);
  if (!stream) return all;
  const int64_t steps =
      std::min(supervised_steps(config, count, config.rows_per_step()), 1 + kMostRows / config.rows_per_step());
  for (int64_t step = 0; step < steps; ++step) {
    const std::vector<int64_t> numbers = next_rows(*stream, config.rows_per_step());
    const CompletionsOf source = completions_of(config, step);
    all.student_samples |= source == CompletionsOf::kStudent;
    all.teacher_samples |= source == CompletionsOf::kTeacher;
    for (const engine::ShardRange& shard :
         engine::shard_ranges(static_cast<int64_t>(numbers.size()), config.gradient_shards)) {
      std::vector<DistillLength> mine;
      for (int64_t i = shard.begin; i < shard.end; ++i) {
        mine.push_back(cut(rows[static_cast<size_t>(numbers[i])], config));
        if (source == CompletionsOf::kRows) continue;
        const int64_t room = context - std::max(mine.back().prompt, mine.back().teacher_prompt);
        mine.back().completion = mine.back().counted = std::max<int64_t>(1, std::min(config.max_new_tokens, room));
      }
      add_rows(mine, micro_batch_tokens(config), all.student, all.teacher);
    }
  }
  return all;
}

std::vector<DistillLength> lengths_of(const DistillSet& set) {
  std::vector<DistillLength> lengths;
  for (const DistillRow& row : set.rows)
    lengths.push_back({static_cast<int64_t>(row.prompt.size()), static_cast<int64_t>(row.teacher_prompt.size()),
                       static_cast<int64_t>(row.completion.size()), row.counted()});
  return lengths;
}

}  // namespace

DistillWorkload distill_workload(const DistillSet& train, const DistillSet* held_out) {
  DistillWorkload workload{lengths_of(train), {}};
  if (held_out != nullptr) workload.held_out = lengths_of(*held_out);
  return workload;
}

DistillWorkload distill_workload(const DistillConfig& config, int64_t context_length, int64_t told) {
  DistillWorkload workload;
  const int64_t length = std::min(config.max_length.value_or(context_length), context_length);
  const int64_t completion = std::clamp<int64_t>(config.max_new_tokens, 1, length - 1), prompt = length - completion;
  for (int64_t row = 0; row < std::min(config.rows_per_step(), kMostRows); ++row)
    workload.train.push_back({prompt, prompt + told, completion, completion});
  if (!config.eval_dataset.empty()) workload.held_out = workload.train;
  return workload;
}

Result<engine::MemoryPlan> plan_distill(const DistillConfig& config, const PlanBase& base, const TeacherFiles& files,
                                        const DistillWorkload& workload) {
  engine::Planner planner(base.kernels, base.pool);
  const engine::Context& context = planner.context();
  engine::Model model = TRY(plan_base(planner, config, base));
  const engine::Role teacher = TRY(load_teacher(config, context, model, files));
  const engine::Adapter* of_teacher = teacher.adapter_or_null();
  const int64_t teacher_rank = of_teacher == nullptr ? 0 : of_teacher->max_padded_rank;
  const engine::PackedMatrix& teacher_head = engine::head_of(*teacher.model, of_teacher);

  std::vector<DistillLength> held_out;
  for (const DistillLength& row : workload.held_out) held_out.push_back(cut(row, config));
  Batches evaluated, evaluated_by_teacher;
  add_rows(held_out, kEvaluationTokens, evaluated, evaluated_by_teacher);
  auto evaluate = [&](const engine::Adapter* adapter) {
    PolicyPass student(context, "evaluation", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                       PolicyPass::Keep::kOneLayer);
    PolicyPass judge(context, "teacher", *teacher.model, teacher_rank, PolicyPass::Keep::kOneLayer);
    for (const auto& [tokens, batch] : evaluated_by_teacher) judge.plan(batch, of_teacher, nullptr);
    for (const auto& [tokens, batch] : evaluated) student.plan(batch, adapter, nullptr, &teacher_head);
  };
  auto measure = [&](const engine::Adapter* adapter) {
    evaluate(adapter);
    engine::SamplingOptions greedy;
    greedy.temperature = 0;
    if (workload.answers) engine::plan_sampling(context, model, adapter, *workload.answers, greedy);
  };
  if (!held_out.empty()) planner.phase("evaluation before", [&] { measure(nullptr); });

  const Trained trained = TRY(first_trained(config, context, model, base.files));
  {
    const engine::Trainable trainable = trained.trainable();
    const engine::AdamwState optimizer = engine::make_adamw(context, trainable);
    PolicyPass judge(context, "teacher", *teacher.model, teacher_rank, PolicyPass::Keep::kOneLayer);
    PolicyPass student(context, "policy", model, trained.max_padded_rank(), PolicyPass::Keep::kAllLayers,
                       most_activation_bytes(config));
    const engine::GradientShards shards(context.ledger, config.gradient_shards, trainable);
    const Steps steps =
        steps_of(config, workload.train, std::min(model.config.max_positions, teacher.model->config.max_positions));
    const auto train = [&] {
      for (const auto& [tokens, batch] : steps.teacher) judge.plan(batch, of_teacher, nullptr);
      for (const auto& [tokens, batch] : steps.student) {
        if (config.samples())  // what is sampled may be shorter
          student.plan(kept_whole(student, batch), trained.adapter.get(), &trainable, &teacher_head);
        student.plan(batch, trained.adapter.get(), &trainable, &teacher_head);
      }
    };
    train();  // the passes keep their buffers from step to step
    planner.phase("training", train);
    engine::SamplingShape shape{config.rows_per_step(), 1, 1, config.max_new_tokens};
    engine::SamplingOptions options;
    options.temperature = config.temperature;
    for (const DistillLength& row : workload.train)
      shape.longest_prompt = std::max(shape.longest_prompt, steps.teacher_samples ? row.teacher_prompt : row.prompt);
    if (steps.student_samples)
      planner.phase("generation",
                    [&] { engine::plan_sampling(context, model, trained.adapter.get(), shape, options); });
    if (steps.teacher_samples)
      planner.phase("teacher's generation",
                    [&] { engine::plan_sampling(context, *teacher.model, of_teacher, shape, options); });
    if (config.eval_strategy == "steps") planner.phase("evaluation", [&] { evaluate(trained.adapter.get()); });
    plan_checkpoint(planner, trained.adapter.get());
  }
  if (!held_out.empty()) planner.phase("evaluation after", [&] { measure(trained.adapter.get()); });
  return planner.take();
}

}  // namespace candor::recipes
