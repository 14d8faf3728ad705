#include "cli/sft_job.h"

#include <fmt/format.h>

#include <optional>

#include "cli/exit_code.h"
#include "cli/job.h"
#include "cli/sft_evaluation.h"
#include "cli/summary.h"
#include "cli/terminal.h"
#include "files/run_log.h"
#include "recipes/sft.h"

namespace candor::cli {

namespace {

using files::Json;
using recipes::SftConfig;
namespace fs = std::filesystem;

Result<data::SftSet> load_set(const SftConfig& config, const Session& session, const data::Rows& rows, bool evaluation,
                              const std::function<void(const std::string&)>& say) {
  const data::TextReader reader{session.tokenizer(), session.chat_template(), session.files.special_tokens};
  data::SftSet set =
      TRY(data::load_sft(rows, reader, recipes::data_options(config, session.files.config.max_positions, evaluation)));
  for (const std::string& line : data::describe(set.account)) say(fmt::format("{}: {}", set.name, line));
  for (const std::string& note : set.notes) say(note);
  return set;
}

// A prompt of the task, as `candor generate` takes it: a row's prompt, what stands before the assistant's first turn,
// or the first words of a text.
Json example_prompt(const Json& row, const std::string& text_column) {
  if (row.contains("prompt")) return row["prompt"];
  if (row.contains("messages") && row["messages"].is_array()) {
    Json prompt = Json::array();
    for (const Json& message : row["messages"]) {
      if (message.is_object() && message.value("role", "") == "assistant") break;
      prompt.push_back(message);
    }
    return prompt;
  }
  if (row.contains(text_column) && row[text_column].is_string()) {
    const auto text = row[text_column].get<std::string>();
    return text.substr(0, text.find(' ', std::min<size_t>(text.size(), 24)));
  }
  return "Hello";
}

void print_table(const Json& summary) {
  fmt::print("\n{}\n\n", printable(summary["verdict"].get<std::string>()));
  if (summary.contains("evaluations")) {
    const Json &loss = summary["evaluations"]["loss"], &accuracy = summary["evaluations"]["token_accuracy"];
    fmt::print("  {:<16}{:>10}{:>10}{:>14}{:>22}\n", "", "before", "after", "difference", "95% interval");
    fmt::print("  {:<16}{:>10.4f}{:>10.4f}{:>+14.4f}{:>22}   nats per token\n", "loss", loss["before"].get<double>(),
               loss["after"].get<double>(), loss["difference"].get<double>(),
               loss["interval"].is_null() ? ""
                                          : fmt::format("{:+.4f} to {:+.4f}", loss["interval"][0].get<double>(),
                                                        loss["interval"][1].get<double>()));
    const double was = accuracy["before"].get<double>(), is = accuracy["after"].get<double>();
    fmt::print("  {:<16}{:>9.1f}%{:>9.1f}%{:>+13.1f}%\n", "tokens right", 100 * was, 100 * is, 100 * (is - was));
  }
}

// The run itself. Its exit code, once everything is set up.
Result<int> run(const SftJob& job, Progress& progress, const std::atomic<bool>& stop) {
  const JobClock clock;
  const SftInputs inputs = TRY(read_sft_inputs(job.config, [&](const std::string& line) { progress.say(line); }));
  const auto planned = TRY(plan_run<SftConfig>("sft", job.config, planner_of(inputs)));
  if (planned.refused) {
    print_error(planned.refused->message);
    return static_cast<int>(kUsage);
  }
  const SftConfig& config = planned.config;
  progress.say(plan_line(planned.plan, planned.limit, config));
  const std::unique_ptr<Session>& session = inputs.session;
  const data::SftSet& train = inputs.train;
  const std::optional<data::SftSet>& held_out = inputs.held_out;
  TRY(load_job_weights(config, *session));

  auto measure = [&](const engine::Adapter* adapter, const char* when) {
    return measure_sft(
        *session, adapter, *held_out,
        [&](const std::string& how_far) { progress.doing(fmt::format("evaluating {} {}", when, how_far)); },
        [&] { return stop.load(); });
  };
  std::optional<SftState> before;
  if (held_out) {  // before a checkpoint's weights take the place of those that the run began with
    std::optional<engine::Adapter> given;
    if (!config.adapter_name_or_path.empty())
      given = TRY(recipes::first_adapter(config, session->context, session->model));
    before = measure(given ? &*given : nullptr, "before");
    if (!before) {
      progress.say("interrupted in the evaluation before training; nothing was changed");
      return static_cast<int>(kInterrupted);
    }
    progress.say(fmt::format("before: held out, loss {:.4f}", before->losses.loss()));
  }
  recipes::SftStart start = TRY(recipes::start_sft(config, session->context, session->model, session->files, train));
  TRY(with_run_directory(job.config, recipes::sft_fields, recipes::prepare_run_directory));
  const FolderLock lock = TRY(claim_run("sft", config, clock, progress));

  const recipes::SftParts parts{run_parts(*session, kept_yaml(job.config, recipes::sft_fields), progress, stop), train,
                                held_out ? &*held_out : nullptr};
  const recipes::SftResult result = TRY(recipes::run_sft(config, parts, std::move(start)));
  if (result.interrupted) {
    progress.say(fmt::format("interrupted after step {}; saved. Go on with: {}", result.steps,
                             how_to_go_on("sft", config, "true")));
    return static_cast<int>(kInterrupted);
  }

  SftConfig copy = job.config;
  Json summary = summary_head(job.command, recipes::sft_fields(copy), config.seed, *session, clock);
  add_steps(summary, result);
  add_plan(summary, planned.plan, planned.limit, config);
  summary["rows"] = {{"train", account_json(train)}};
  summary["verdict"] =
      fmt::format("{} steps of SFT; no eval_dataset, so nothing says whether the model is better.", result.steps);
  const fs::path final_folder = fs::path(config.output_dir) / "final";
  if (held_out) {
    summary["rows"]["eval"] = account_json(*held_out);
    const auto after = measure(result.trained.adapter.get(), "after");
    if (!after) {
      progress.say(fmt::format("interrupted in the evaluation after training; the result is in {}. Go on with: {}",
                               final_folder.string(), how_to_go_on("sft", config, "auto")));
      return static_cast<int>(kInterrupted);
    }
    summary["evaluations"] = compare_sft(*before, *after);
    summary["samples"] = sft_samples(*session, *held_out, *before, *after);
    summary["verdict"] = sft_verdict(summary["evaluations"]);
  }
  const Json example = example_prompt(inputs.rows.rows.front().columns, config.dataset_text_field);
  summary["talk_to_it"] = how_to_talk(config, final_folder, example);
  return end_job(std::move(summary), job.json, config, config.use_peft ? "adapter" : "model", *session, clock,
                 print_table);
}

}  // namespace

Result<SftInputs> read_sft_inputs(const SftConfig& config, const std::function<void(const std::string&)>& say,
                                  const OpenFiles& open) {
  SftInputs inputs;
  inputs.rows = TRY(data::read_rows(config.dataset_name));
  std::optional<data::Rows> held_out_rows;
  if (!config.eval_dataset.empty()) held_out_rows = TRY(data::read_rows(config.eval_dataset));
  inputs.meter.mark("data", "rows");
  inputs.session = TRY(open(config));
  TRY(replace_template("sft", config.chat_template_path, *inputs.session));
  inputs.meter.mark("program", "tokenizer");
  inputs.train = TRY(load_set(config, *inputs.session, inputs.rows, false, say));
  if (held_out_rows) inputs.held_out = TRY(load_set(config, *inputs.session, *held_out_rows, true, say));
  inputs.meter.mark("data", "tokens");
  return inputs;
}

recipes::PlanOf<SftConfig> planner_of(const SftInputs& inputs) {
  recipes::SftWorkload workload = recipes::sft_workload(inputs.train, inputs.held_out ? &*inputs.held_out : nullptr);
  if (inputs.held_out) workload.answers = answers_shape(*inputs.held_out);
  return [&inputs, workload](const SftConfig& config) {
    Session& session = *inputs.session;
    return recipes::plan_sft(config, {session.context.kernels, session.pool, session.files, inputs.meter.held()},
                             workload);
  };
}

int run_sft_job(const SftJob& job) {
  return run_job(
      job.config, [&] { return with_run_directory(job.config, recipes::sft_fields, recipes::check_run_directory); },
      job.prepare, [&](Progress& progress, const std::atomic<bool>& stop) { return run(job, progress, stop); });
}

}  // namespace candor::cli
