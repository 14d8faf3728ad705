// The plan of a distillation, against the ledger of the run itself.
#include "recipes/memory_plan_distill.h"

#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/distill.h"
#include "recipes/plan_testing.h"
#include "support/golden_model.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using engine::testing::random_ids;

DistillSet rows_of(const std::vector<int64_t>& lengths, int64_t told) {
  DistillSet set{"rows", {}, 0};
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    DistillRow row;
    row.prompt = random_ids(lengths[i] / 2, 1100, 2 * i);
    row.teacher_prompt = random_ids(told, 1100, 1000);
    row.teacher_prompt.insert(row.teacher_prompt.end(), row.prompt.begin(), row.prompt.end());
    row.completion = random_ids(lengths[i] - lengths[i] / 2, 1100, 2 * i + 1);
    row.mask.assign(row.completion.size(), 1);
    row.mask[0] = 0;
    row.row = i + 1;
    set.counted_tokens += row.counted();
    set.rows.push_back(row);
  }
  return set;
}

struct Case {
  const char* name;
  bool own_model;
  double lmbda;
  const char* dtype;
};

class DistillPlans : public ::testing::TestWithParam<Case> {};

TEST_P(DistillPlans, AreTheLedgerOfTheRun) {
  const Case& c = GetParam();
  const ScratchFolder scratch;
  Bench bench(2, "", engine::testing::dtype_of(c.dtype));
  const files::ModelFiles files = engine::testing::random_model_files(engine::testing::tiny_config(), 3);
  // Sampled rows have one length each way: only then is the plan, which is of the longest, the ledger.
  const DistillSet rows = rows_of(
                       c.lmbda > 0 ? std::vector<int64_t>(7, 30) : std::vector<int64_t>{30, 55, 12, 90, 41, 8, 64}, 20),
                   held_out = rows_of({20, 150, 35}, 20);
  DistillConfig config;
  config.dtype = c.dtype;
  config.use_peft = true;
  config.lora_r = 3;
  config.max_steps = 6;
  config.per_device_train_batch_size = 3;
  config.gradient_shards = 2;
  config.micro_batch_tokens = 100;
  config.max_length.reset();
  config.save_strategy = "no";
  config.lmbda = c.lmbda;
  config.max_new_tokens = 25;
  config.output_dir = scratch.path().string();
  config.eval_strategy = "steps";
  config.eval_steps = 3;
  TeacherFiles teacher_files;
  if (c.own_model) {
    files::ModelConfig narrow = engine::testing::tiny_config();
    narrow.hidden_size = 24;
    teacher_files.model = engine::testing::random_model_files(narrow, 5);
  }
  {
    engine::Model model = bench.load(files);
    const engine::Role teacher = value_of(load_teacher(config, *bench.context, model, teacher_files));
    SupervisedStart start = value_of(start_distill(config, *bench.context, model, files, rows));
    const DistillParts parts{{.context = *bench.context,
                              .model = model,
                              .recipe_yaml = "",
                              .report = {},
                              .say = {},
                              .doing = {},
                              .interrupted = {}},
                             teacher,
                             rows,
                             &held_out,
                             {}};
    value_of(run_distill(config, parts, std::move(start)));
  }
  const PlanBase base{bench.context->kernels, bench.pool, files, {}};
  const engine::MemoryPlan plan =
      value_of(plan_distill(config, base, teacher_files, distill_workload(rows, &held_out)));
  testing::expect_ledger(plan, bench.ledger);
}

INSTANTIATE_TEST_SUITE_P(Kinds, DistillPlans,
                         ::testing::Values(Case{"told_more", false, 0, "float32"},
                                           Case{"own_model", true, 0, "float32"},
                                           Case{"own_completions", false, 1, "float32"},
                                           Case{"bfloat16", true, 0, "bfloat16"}, Case{"int8", false, 0, "int8"}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace candor::recipes
