#include "cli/distill_job.h"

#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/sft_evaluation.h"
#include "cli/summary.h"
#include "cli/terminal.h"
#include "data/distillation.h"
#include "engine/sampler.h"
#include "files/run_log.h"
#include "recipes/distill.h"

namespace candor::cli {

namespace {

using files::Json;
using recipes::DistillConfig;
using recipes::DistillSet;
namespace fs = std::filesystem;

// The same rows as the student and, where it is told more, the teacher read them.
Result<DistillSet> load_set(const DistillConfig& config, const DistillInputs& inputs, const data::Rows& rows,
                            const std::function<void(const std::string&)>& say, data::SftSet& of_student) {
  const Session& session = *inputs.session;
  const data::TextReader reader{session.tokenizer(), session.chat_template(), session.files.special_tokens};
  data::SftOptions options = recipes::data_options(config, session.files.config.max_positions, false);
  options.where = "distill";
  const data::Rows completions = TRY(data::completion_rows(rows, "distill"));
  of_student = TRY(data::load_sft(completions, reader, options));
  for (const std::string& line : data::describe(of_student.account)) say(fmt::format("{}: {}", of_student.name, line));
  for (const std::string& note : of_student.notes) say(note);
  const files::ModelFiles& teacher = inputs.teacher.model ? *inputs.teacher.model : session.files;
  const int64_t context = teacher.config.max_positions;
  if (!config.tells_teacher_more()) return recipes::distill_set(of_student, nullptr, context);
  const std::string told = TRY(recipes::teacher_prompt_text(config));
  options.max_length.reset();
  options.context_length = 0;
  const data::SftSet of_teacher =
      TRY(data::load_sft(TRY(data::with_teacher_prompt(completions, told, "distill")), reader, options));
  return recipes::distill_set(of_student, &of_teacher, context);
}

// The rows whose prompts are answered before and after, as student or teacher sees them; they point into `set`.
enum class Sees { kStudent, kTeacher };
std::vector<SampledRow> sampled_rows(const DistillSet& set, Sees who) {
  std::vector<SampledRow> rows;
  for (const recipes::DistillRow& row : set.rows)
    if (row.prompt.size() > 1 && rows.size() < kSampledRows)
      rows.push_back({who == Sees::kStudent ? row.prompt : row.teacher_prompt, row.completion});
  return rows;
}

// How far the student is from its teacher on held-out rows, in the shape of an SFT evaluation: `nll` is the divergence,
// `correct` counts tokens on whose likeliest value they agree.
std::optional<SftState> measure(const DistillConfig& config, const Session& session, const engine::Adapter* adapter,
                                const engine::Role& teacher, const DistillSet& set,
                                const std::function<void(const std::string&)>& doing,
                                const std::function<bool()>& interrupted) {
  const auto rows = recipes::evaluate_distill(config, session.context, session.model, adapter, teacher, set,
                                              [&](size_t done, size_t all) {
                                                doing(fmt::format("{}/{}", done, all));
                                                return !interrupted();
                                              });
  if (!rows) return std::nullopt;
  SftState state;
  const auto tokens = static_cast<double>(std::max<int64_t>(set.counted_tokens, 1));
  for (const recipes::DistilledRow& row : *rows)
    state.losses.rows.push_back({row.divergence / tokens, row.tokens, row.divergence, row.entropy, row.agreed});
  auto answers = greedy_answers(session, adapter, sampled_rows(set, Sees::kStudent), interrupted);
  if (!answers) return std::nullopt;
  state.answers = std::move(*answers);
  return state;
}

// The teacher's own greedy answers to those prompts, as it sees them.
std::vector<std::string> teacher_answers(const Session& session, const engine::Role& teacher, const DistillSet& set) {
  std::vector<engine::SampleRequest> requests;
  for (const SampledRow& row : sampled_rows(set, Sees::kTeacher))
    requests.push_back({{row.prompt.begin(), row.prompt.end()}, 1});
  engine::SamplingOptions greedy;
  greedy.temperature = 0;
  greedy.max_new_tokens = 64;
  greedy.stop_ids = session.model.config.eos_ids;
  std::vector<std::string> texts;
  for (const auto& answer :
       engine::sample(session.context, *teacher.model, teacher.adapter_or_null(), requests, greedy, nullptr, {}))
    texts.push_back(session.tokenizer().decode(answer[0].ids, {.skip_special_tokens = true}));
  return texts;
}

// Prompt, the teacher's answer, and the student's before and after.
Json samples_of(const Session& session, const engine::Role& teacher, const DistillSet& set, const SftState& before,
                const SftState& after) {
  Json samples = samples_json(session, sampled_rows(set, Sees::kStudent), before.answers, after.answers);
  const std::vector<std::string> answers = teacher_answers(session, teacher, set);
  for (size_t i = 0; i < samples.size(); ++i) samples[i]["answer"] = answers[i];
  return samples;
}

std::string verdict_of(const Json& evaluations) {
  const Json& loss = evaluations["loss"];
  const std::string change =
      fmt::format("{:.4f} to {:.4f} nats per token from its teacher on {} held-out rows", loss["before"].get<double>(),
                  loss["after"].get<double>(), loss["rows"].get<int64_t>());
  if (loss["interval"].is_null())
    return fmt::format("Too few held-out rows to say whether the student has come nearer: {}.", change);
  const double low = loss["interval"][0].get<double>(), high = loss["interval"][1].get<double>();
  const std::string range =
      fmt::format("{:+.4f}, 95% interval {:+.4f} to {:+.4f} over rows", loss["difference"].get<double>(), low, high);
  if (low <= 0 && high >= 0) return fmt::format("No change that chance could not make: {} ({}).", change, range);
  return fmt::format("The student has {}: {} ({}).", high < 0 ? "come nearer to its teacher" : "moved away", change,
                     range);
}

void print_table(const Json& summary) {
  fmt::print("\n{}\n\n", printable(summary["verdict"].get<std::string>()));
  if (summary.contains("evaluations")) {
    const Json &loss = summary["evaluations"]["loss"], &agreement = summary["evaluations"]["agreement"];
    fmt::print("  {:<16}{:>10}{:>10}{:>14}{:>22}\n", "", "before", "after", "difference", "95% interval");
    fmt::print("  {:<16}{:>10.4f}{:>10.4f}{:>+14.4f}{:>22}   nats per token\n", "from teacher",
               loss["before"].get<double>(), loss["after"].get<double>(), loss["difference"].get<double>(),
               loss["interval"].is_null() ? ""
                                          : fmt::format("{:+.4f} to {:+.4f}", loss["interval"][0].get<double>(),
                                                        loss["interval"][1].get<double>()));
    const double was = agreement["before"].get<double>(), is = agreement["after"].get<double>();
    fmt::print("  {:<16}{:>9.1f}%{:>9.1f}%{:>+13.1f}%   same likeliest token\n", "agreement", 100 * was, 100 * is,
               100 * (is - was));
  }
}

// The run itself. Its exit code, once everything is set up.
Result<int> run(const DistillJob& job, Progress& progress, const std::atomic<bool>& stop) {
  const JobClock clock;
  const DistillInputs inputs =
      TRY(read_distill_inputs(job.config, [&](const std::string& line) { progress.say(line); }));
  const auto planned = TRY(plan_run<DistillConfig>("distill", job.config, planner_of(inputs)));
  if (planned.refused) {
    print_error(planned.refused->message);
    return static_cast<int>(kUsage);
  }
  const DistillConfig& config = planned.config;
  progress.say(plan_line(planned.plan, planned.limit, config));
  Session& session = *inputs.session;
  TRY(load_job_weights(config, session));
  const engine::Role teacher = TRY(recipes::load_teacher(config, session.context, session.model, inputs.teacher));

  auto measured = [&](const engine::Adapter* adapter, const char* when) {
    return measure(
        config, session, adapter, teacher, *inputs.held_out,
        [&](const std::string& how_far) { progress.doing(fmt::format("evaluating {} {}", when, how_far)); },
        [&] { return stop.load(); });
  };
  std::optional<SftState> before;
  if (inputs.held_out) {  // before a checkpoint's weights take the place of those that the run began with
    std::optional<engine::Adapter> given;
    if (!config.adapter_name_or_path.empty())
      given = TRY(recipes::first_adapter(config, session.context, session.model));
    before = measured(given ? &*given : nullptr, "before");
    if (!before) {
      progress.say("interrupted in the evaluation before training; nothing was changed");
      return static_cast<int>(kInterrupted);
    }
    progress.say(fmt::format("before: held out, {:.4f} nats per token from the teacher", before->losses.loss()));
  }
  TRY(recipes::first_watch(config.guard, kept_yaml(job.config, recipes::distill_fields)));
  recipes::SupervisedStart start =
      TRY(recipes::start_distill(config, session.context, session.model, session.files, inputs.train));
  TRY(with_run_directory(job.config, recipes::distill_fields, recipes::prepare_run_directory));
  const FolderLock lock = TRY(claim_run("distill", config, clock, progress));

  const recipes::DistillParts parts{run_parts(session, kept_yaml(job.config, recipes::distill_fields), progress, stop),
                                    teacher, inputs.train, inputs.held_out ? &*inputs.held_out : nullptr,
                                    session.model.config.eos_ids};
  const recipes::SupervisedResult result = TRY(recipes::run_distill(config, parts, std::move(start)));
  if (result.interrupted) {
    progress.say(fmt::format("interrupted after step {}; saved. Go on with: {}", result.steps,
                             how_to_go_on("distill", config, "true")));
    return static_cast<int>(kInterrupted);
  }

  const bool stopped = !result.guard.stopped.empty(), has_final = !stopped || result.guard.good_step > 0;
  if (stopped) progress.say(stop_text(result.guard, config, result.steps, how_to_go_on("distill", config, "true")));
  DistillConfig copy = job.config;
  Json summary = summary_head(job.command, recipes::distill_fields(copy), config.seed, session, clock);
  add_steps(summary, result);
  add_plan(summary, planned.plan, planned.limit, config);
  summary["rows"] = {{"train", account_json(inputs.student_rows)}};
  summary["verdict"] = fmt::format(
      "{} steps of distillation; no eval_dataset, so nothing says whether the student has come nearer to its teacher.",
      result.steps);
  const fs::path final_folder = fs::path(config.output_dir) / "final";
  if (inputs.held_out) summary["rows"]["eval"] = account_json(*inputs.held_out_rows);
  if (inputs.held_out && has_final) {
    const auto after = measured(result.trained.adapter.get(), "after");
    if (!after) {
      progress.say(fmt::format("interrupted in the evaluation after training; the result is in {}. Go on with: {}",
                               final_folder.string(), how_to_go_on("distill", config, "auto")));
      return static_cast<int>(kInterrupted);
    }
    const Json compared = compare_sft(*before, *after);
    summary["evaluations"] = {{"loss", compared["loss"]}, {"agreement", compared["token_accuracy"]}};
    summary["samples"] = samples_of(session, teacher, *inputs.held_out, *before, *after);
    summary["verdict"] = verdict_of(summary["evaluations"]);
  }
  const Json& columns = inputs.rows.rows.front().columns;
  const auto split = data::completion_rows({inputs.rows.name, {inputs.rows.rows.front()}}, "distill");
  const Json& example = split ? split->rows.front().columns : columns;
  add_guard(summary, result.guard);
  if (has_final) summary["talk_to_it"] = how_to_talk(config, final_folder, example.value("prompt", Json("Hello")));
  return end_job(std::move(summary), job.json, config, config.use_peft ? "adapter" : "model", session, clock,
                 print_table);
}

}  // namespace

Result<DistillInputs> read_distill_inputs(const DistillConfig& config,
                                          const std::function<void(const std::string&)>& say, const OpenFiles& open) {
  DistillInputs inputs;
  inputs.rows = TRY(data::read_rows(config.dataset_name));
  std::optional<data::Rows> held_out;
  if (!config.eval_dataset.empty()) held_out = TRY(data::read_rows(config.eval_dataset));
  inputs.meter.mark("data", "rows");
  inputs.session = TRY(open(config));
  inputs.teacher = TRY(recipes::open_teacher(config, inputs.session->files));
  TRY(replace_template("distill", config.chat_template_path, *inputs.session));
  inputs.meter.mark("program", "tokenizer");
  inputs.train = TRY(load_set(config, inputs, inputs.rows, say, inputs.student_rows));
  if (held_out) {
    inputs.held_out_rows.emplace();
    inputs.held_out = TRY(load_set(config, inputs, *held_out, say, *inputs.held_out_rows));
  }
  inputs.meter.mark("data", "tokens");
  return inputs;
}

recipes::PlanOf<DistillConfig> planner_of(const DistillInputs& inputs) {
  recipes::DistillWorkload workload =
      recipes::distill_workload(inputs.train, inputs.held_out ? &*inputs.held_out : nullptr);
  if (inputs.held_out)  // the teacher's prompts are the longer ones
    workload.answers = answers_shape(sampled_rows(*inputs.held_out, Sees::kTeacher));
  return [&inputs, workload](const DistillConfig& config) {
    Session& session = *inputs.session;
    return recipes::plan_distill(config, {session.context.kernels, session.pool, session.files, inputs.meter.held()},
                                 inputs.teacher, workload);
  };
}

int run_distill_job(const DistillJob& job) {
  return run_job(
      job.config, [&] { return with_run_directory(job.config, recipes::distill_fields, recipes::check_run_directory); },
      {}, [&](Progress& progress, const std::atomic<bool>& stop) { return run(job, progress, stop); });
}

}  // namespace candor::cli
