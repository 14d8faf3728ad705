// Distillation: the loss against whole distributions in double (algorithms/distillation.h), what the recipe promises of
// itself bit for bit, that a student comes nearer to its teacher by every road, and broken twins.
#include "recipes/distill.h"

#include <gtest/gtest.h>

#include "algorithms/distillation.h"
#include "engine/testing.h"
#include "recipes/distill_teacher.h"
#include "support/golden_model.h"
#include "support/recorded.h"
#include "support/scratch.h"

namespace candor::recipes {
namespace {

using candor::testing::read_text;
using candor::testing::RowsForward;
using candor::testing::ScratchFolder;
using candor::testing::value_of;
using engine::testing::Bench;
using engine::testing::random_ids;

// Rows whose teacher sees `told` tokens more.
DistillSet rows_of(size_t count, int64_t told) {
  DistillSet set{"rows", {}, 0};
  for (uint32_t i = 0; i < count; ++i) {
    DistillRow row;
    row.prompt = random_ids(4 + 3 * (i % 4), 1100, 3 * i);
    row.teacher_prompt = random_ids(told, 1100, 1000);
    row.teacher_prompt.insert(row.teacher_prompt.end(), row.prompt.begin(), row.prompt.end());
    row.completion = random_ids(3 + 5 * (i % 3), 1100, 3 * i + 1);
    row.mask.assign(row.completion.size(), 1);
    if (i % 3 == 2) row.mask[1] = 0;
    row.row = i + 1;
    set.counted_tokens += row.counted();
    set.rows.push_back(row);
  }
  return set;
}

DistillConfig config_of(const std::filesystem::path& output) {
  DistillConfig config;
  config.output_dir = output.string();
  config.use_peft = true;
  config.lora_r = 4;
  config.lora_target_modules = {.is_list = false, .items = {"all-linear"}};
  config.learning_rate = 2e-3;
  config.lr_scheduler_type = "constant";
  config.max_steps = 4;
  config.per_device_train_batch_size = 6;
  config.gradient_shards = 2;
  config.max_new_tokens = 7;
  config.lmbda = 0;
  config.save_steps = 2;
  return config;
}

enum class Teacher { kBase, kAdapter, kOwnModel };

struct Record {
  std::vector<nlohmann::json> metrics;
  std::string adapter;
};

// A whole run in a folder of its own. `stop`: the steps after which Ctrl-C comes, once; then it is resumed.
Record run(DistillConfig config, Teacher kind, int64_t told, int threads = 2, int64_t stop = 1000,
           const DistillSet* held_out = nullptr) {
  Bench bench(threads);
  const files::ModelFiles files = engine::testing::random_model_files(engine::testing::tiny_config(), 1);
  const DistillSet rows = rows_of(14, told);
  for (int part = 0; part < (stop < config.max_steps ? 2 : 1); ++part) {
    engine::Model model = bench.load(files);
    files::ModelConfig narrow = engine::testing::tiny_config();
    narrow.hidden_size = 24;
    engine::Role teacher = engine::base_role(*bench.context, "teacher", model);
    if (kind == Teacher::kAdapter) teacher.adapter = bench.random_adapter(model);
    if (kind == Teacher::kOwnModel) {
      teacher.own_model = std::make_unique<engine::Model>(bench.random_model(5, narrow));
      teacher.model = teacher.own_model.get();
    }
    std::filesystem::create_directories(config.output_dir);
    config.resume_from_checkpoint = part == 0 ? "false" : "true";
    int64_t done = 0;
    const DistillParts parts{{.context = *bench.context,
                              .model = model,
                              .recipe_yaml = "",
                              .report = [&](const StepReport& report) { done = report.step; },
                              .say = {},
                              .doing = {},
                              .interrupted = [&] { return part == 0 && done >= stop; }},
                             teacher,
                             rows,
                             held_out,
                             {1}};
    SupervisedStart start = value_of(start_distill(config, *bench.context, model, files, rows));
    value_of(run_distill(config, parts, std::move(start)));
  }
  Record out;
  out.metrics = candor::testing::json_lines(std::filesystem::path(config.output_dir) / "metrics.jsonl");
  for (nlohmann::json& row : out.metrics) row.erase("step_time");
  out.adapter = read_text(std::filesystem::path(config.output_dir) / "final/adapter_model.safetensors");
  return out;
}

// The mean divergence of the first step's rows, from whole logits.
double first_loss(const DistillConfig& config, Teacher kind, int64_t told, double beta) {
  Bench bench;
  const engine::Model model = bench.random_model(1);
  files::ModelConfig narrow = engine::testing::tiny_config();
  narrow.hidden_size = 24;
  const engine::Model own = bench.random_model(5, narrow);
  const engine::Adapter adapter = bench.random_adapter(model);
  const DistillSet rows = rows_of(14, told);
  auto stream = value_of(data::open_prompt_stream(14, static_cast<uint64_t>(config.seed), config.shuffle_dataset));
  double sum = 0, tokens = 0;
  std::vector<double> slope(1100);
  for (const int64_t number : next_rows(stream, config.rows_per_step())) {
    const DistillRow& row = rows.rows[static_cast<size_t>(number)];
    const auto logits = [&](const engine::Model& of, const engine::Adapter* with, std::vector<int32_t> ids) {
      ids.insert(ids.end(), row.completion.begin(), row.completion.end());
      RowsForward forward(*bench.context, of, with, {ids}, engine::Activations::Keep::kOneLayer);
      const int64_t end = forward.tokens() - 1;
      return forward.logits(end - static_cast<int64_t>(row.completion.size()), end);
    };
    const auto student = logits(model, nullptr, row.prompt);
    const auto teacher = kind == Teacher::kOwnModel
                             ? logits(own, nullptr, row.teacher_prompt)
                             : logits(model, kind == Teacher::kAdapter ? &adapter : nullptr, row.teacher_prompt);
    for (size_t t = 0; t < row.completion.size(); ++t) {
      if (row.mask[t] == 0) continue;
      const auto at = [&](const std::vector<float>& all) {
        return std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(1100 * t),
                                   all.begin() + static_cast<std::ptrdiff_t>(1100 * (t + 1)));
      };
      sum += algorithms::token_divergence(at(student), at(teacher), beta, config.kd_temperature, slope);
      ++tokens;
    }
  }
  return sum / tokens;
}

TEST(Distill, TheLossIsThatOfWholeDistributions) {
  for (const auto& [kind, told] :
       {std::pair(Teacher::kBase, 11), std::pair(Teacher::kAdapter, 0), std::pair(Teacher::kOwnModel, 5)})
    for (const double beta : {0.0, 0.3, 1.0}) {
      const ScratchFolder scratch;
      DistillConfig config = config_of(scratch.path());
      config.beta = beta;
      config.kd_temperature = beta == 0.3 ? 1.7 : 1.0;
      config.max_steps = 1;
      const double loss = run(config, kind, told).metrics[0].at("loss");
      // Float32 logits up to 15.
      EXPECT_NEAR(loss, first_loss(config, kind, told, beta), 5e-6) << beta;
      DistillConfig cold = config;
      cold.kd_temperature = 0.8;
      const std::vector<std::pair<const char*, double>> twins = {
          {"the other end of beta", first_loss(config, kind, told, beta == 0.3 ? 0.6 : 1 - beta)},
          {"another prompt for the teacher", first_loss(config, kind, told + 1, beta)},
          {"another temperature", first_loss(cold, kind, told, beta)}};
      for (const auto& [broken, of_twin] : twins) EXPECT_GT(std::abs(loss - of_twin), 1e-4) << broken << ' ' << beta;
    }
}

// Off policy, on policy, the teacher's own and MiniLLM.
std::vector<DistillConfig> roads(const std::filesystem::path& folder) {
  std::vector<DistillConfig> all(4, config_of(folder));
  all[0].beta = 0.5;
  all[1].lmbda = 0.6;
  all[2].seq_kd = true;
  all[3].loss_type = "minillm";
  all[3].lmbda = 1;
  all[3].temperature = 1;
  all[3].gamma = 0.5;
  return all;
}

TEST(Distill, NoSplitAndNoThreadChangesABit) {
  for (size_t road = 0; road < 4; ++road) {
    const ScratchFolder scratch;
    const auto bytes = [&](int64_t tokens, int threads, const char* checkpointing) {
      DistillConfig config = roads(scratch / fmt::format("{}-{}-{}", tokens, threads, checkpointing))[road];
      config.micro_batch_tokens = tokens;
      config.gradient_checkpointing = checkpointing;
      return run(config, Teacher::kAdapter, 6, threads);
    };
    const Record whole = bytes(1000, 2, "false");
    for (const Record& other : {bytes(1, 2, "false"), bytes(40, 3, "false"), bytes(60, 1, "true")}) {
      EXPECT_EQ(other.adapter, whole.adapter) << road;
      EXPECT_EQ(other.metrics, whole.metrics) << road;
    }
  }
}

TEST(Distill, TheGuardSeesTheStudentsOwnCompletionsAndMovesNoWeight) {
  for (size_t road = 0; road < 4; ++road) {
    const ScratchFolder scratch;
    const auto guarded = [&](const std::string& guard) {
      DistillConfig config = roads(scratch / guard)[road];
      config.guard.guard = guard;
      return run(config, Teacher::kBase, 6);
    };
    const Record off = guarded("off"), warn = guarded("warn"), stop = guarded("stop");
    EXPECT_EQ(warn.adapter, off.adapter) << road;
    EXPECT_EQ(stop.adapter, off.adapter) << road;
    for (size_t i = 0; i < warn.metrics.size(); ++i) {
      const nlohmann::json& row = warn.metrics[i];
      EXPECT_EQ(row.contains("guard/repeated_ngram"), row.at("on_policy") == 1) << road << ' ' << i;
      EXPECT_TRUE(row.contains("guard/alarms"));
      EXPECT_FALSE(off.metrics[i].contains("guard/alarms"));
    }
  }
}

TEST(Distill, AResumedRunHasTheSameBytes) {
  for (size_t road = 0; road < 4; ++road) {
    const ScratchFolder scratch;
    const Record whole = run(roads(scratch / "whole")[road], Teacher::kBase, 6);
    for (const int64_t stop : {1, 2, 3}) {
      const Record resumed = run(roads(scratch / fmt::format("{}", stop))[road], Teacher::kBase, 6, 2, stop);
      EXPECT_EQ(resumed.adapter, whole.adapter) << road << ' ' << stop;
      EXPECT_EQ(resumed.metrics, whole.metrics) << road << ' ' << stop;
    }
  }
}

TEST(Distill, WhatTheStudentSamplesIsWhatItTrainsOn) {
  const ScratchFolder scratch;
  const Record mixed = run(roads(scratch.path())[1], Teacher::kAdapter, 0);
  int own = 0;
  for (const auto& step : mixed.metrics) {
    own += step.at("on_policy") == 1.0;
    EXPECT_EQ(step.contains("sampling/max_abs_logprob_gap"), step.at("on_policy") == 1.0);
    EXPECT_EQ(step.contains("completions/mean_length"), step.at("on_policy") == 1.0);
    EXPECT_EQ(step.value("sampling/max_abs_logprob_gap", 0.0), 0.0);
  }
  EXPECT_GT(own, 0);
  EXPECT_LT(own, 4);
}

TEST(Distill, TheShareOfOwnCompletionsIsLmbda) {
  DistillConfig config;
  for (const double lmbda : {0.0, 0.3, 1.0}) {
    config.lmbda = lmbda;
    int own = 0;
    for (int64_t step = 0; step < 2000; ++step) own += completions_of(config, step) == CompletionsOf::kStudent;
    EXPECT_NEAR(own / 2000.0, lmbda, 0.035);  // three deviations of 2000 draws
  }
  config.lmbda = 0;
  EXPECT_EQ(completions_of(config, 0), CompletionsOf::kRows);
  config.seq_kd = true;
  EXPECT_EQ(completions_of(config, 0), CompletionsOf::kTeacher);
}

// On given rows and half on its own completions: held-out rows (here the same) come nearer to the teacher.
TEST(Distill, TheStudentComesNearer) {
  for (size_t road = 0; road < 2; ++road) {
    const ScratchFolder scratch;
    DistillConfig config = roads(scratch.path())[road];
    config.max_steps = 30;
    config.learning_rate = 5e-3;
    config.save_strategy = "no";
    config.eval_strategy = "steps";
    config.eval_steps = 30;
    const DistillSet rows = rows_of(14, 0);
    const Record learned = run(config, Teacher::kAdapter, 0, 2, 1000, &rows);
    config.output_dir = (scratch / "still").string();
    config.learning_rate = 0;
    const Record still = run(config, Teacher::kAdapter, 0, 2, 1000, &rows);
    const double before = still.metrics.back().at("eval_loss"), after = learned.metrics.back().at("eval_loss");
    EXPECT_LT(after, 0.7 * before) << road;
    EXPECT_GT(learned.metrics.back().at("eval_agreement"), still.metrics.back().at("eval_agreement")) << road;
  }
}

// On the teacher's completions: nearer there, the last steps against the first.
TEST(Distill, TheStudentComesNearerOnWhatTheTeacherWrites) {
  const ScratchFolder scratch;
  DistillConfig config = roads(scratch.path())[2];
  config.max_steps = 60;
  config.learning_rate = 1e-3;
  config.save_strategy = "no";
  const Record record = run(config, Teacher::kAdapter, 0);
  double first = 0, last = 0;
  for (size_t step = 0; step < 10; ++step) {
    first += record.metrics[step].at("divergence").get<double>();
    last += record.metrics[50 + step].at("divergence").get<double>();
  }
  EXPECT_LT(last, 0.8 * first);
}

// One MiniLLM step by its definition: Σ -A/n + Σ KL/n, with r = ln q - ln p of the tokens that were sampled.
TEST(Distill, MinillmsLossHasTwoParts) {
  const ScratchFolder scratch;
  const auto loss = [&](const char* name, bool advantage, bool single_step) {
    DistillConfig config = roads(scratch / name)[3];
    config.max_steps = 1;
    config.rkl_advantage = advantage;
    config.single_step_decomposition = single_step;
    return run(config, Teacher::kAdapter, 0).metrics[0];
  };
  const auto both = loss("both", true, true), policy = loss("policy", true, false), kl = loss("kl", false, true);
  EXPECT_NEAR(both.at("loss").get<double>(), policy.at("loss").get<double>() + kl.at("loss").get<double>(), 1e-12);
  EXPECT_NEAR(kl.at("loss").get<double>(), kl.at("divergence").get<double>(), 1e-12);
  EXPECT_NE(policy.at("grad_norm"), kl.at("grad_norm"));
}

data::SftSet set_of(const std::vector<int32_t>& prompt, const std::vector<int32_t>& completion) {
  data::SftSet set;
  set.name = "rows.jsonl";
  data::Sequence sequence{prompt, std::vector<uint8_t>(prompt.size(), 0)};
  sequence.ids.insert(sequence.ids.end(), completion.begin(), completion.end());
  sequence.mask.resize(sequence.ids.size(), 1);
  set.rows.push_back({{sequence}, {7}});
  return set;
}

TEST(DistillRows, TheTeachersPromptIsFoundAndItsCompletionChecked) {
  const data::SftSet student = set_of({1, 2}, {5, 6});
  const data::SftSet told = set_of({9, 9, 1, 2}, {5, 6, 7});  // the student's was cut
  const DistillSet set = value_of(distill_set(student, &told, 0));
  EXPECT_EQ(set.rows[0].prompt, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(set.rows[0].teacher_prompt, (std::vector<int32_t>{9, 9, 1, 2}));
  EXPECT_EQ(set.rows[0].completion, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(set.counted_tokens, 2);
  EXPECT_EQ(value_of(distill_set(student, nullptr, 0)).rows[0].teacher_prompt, set.rows[0].prompt);
  const data::SftSet other = set_of({9, 1}, {2, 5, 6});
  EXPECT_EQ(distill_set(student, &other, 0).error().message,
            "[distill] rows.jsonl row 7: behind the teacher's prompt the completion is other tokens than behind the "
            "student's. Let the prompt end where a token ends, as a conversation's does.");
  EXPECT_EQ(
      distill_set(student, &told, 5).error().message,
      "[distill] rows.jsonl row 7: the teacher's prompt and the completion are 6 tokens, and the teacher holds 5. "
      "Shorten the prompt, or lower max_length.");
  EXPECT_NE(digest_of(set), digest_of(value_of(distill_set(student, nullptr, 0))));
}

TEST(DistillTeacher, AnotherVocabularyIsRefused) {
  files::ModelFiles student = engine::testing::random_model_files(engine::testing::tiny_config(), 1);
  DistillConfig config;
  config.use_peft = true;
  EXPECT_FALSE(value_of(open_teacher(config, student)).model);
  CANDOR_REQUIRE_FILE(candor::testing::golden("models/llama"));
  config.teacher_model_name_or_path = candor::testing::golden("models/llama").string();
  EXPECT_NE(open_teacher(config, student)
                .error()
                .message.find("has a vocabulary of 163 tokens, the student random one "
                              "of 1100."),
            std::string::npos);
}

}  // namespace
}  // namespace candor::recipes
