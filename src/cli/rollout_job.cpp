#include "cli/rollout_job.h"

#include <fmt/format.h>

#include "cli/consent.h"
#include "cli/exit_code.h"
#include "cli/screening.h"
#include "cli/summary.h"
#include "cli/terminal.h"
#include "files/run_log.h"
#include "recipes/grpo_config.h"
#include "recipes/ppo_config.h"

namespace candor::cli {

namespace {

using files::Json;
using recipes::RolloutConfig;
namespace fs = std::filesystem;

template <typename Config>
std::string recipe_yaml(const RolloutRecipe<Config>& recipe, const Config& config) {
  Config resolved = kept(config);
  return recipes::yaml_text(recipe.fields(resolved));
}

// The folder's own recipe names the program that this run was allowed to start.
std::string go_on(std::string_view verb, const RolloutConfig& config, std::string_view resume) {
  return how_to_go_on(verb, config, resume) + (asks_outside(config) ? " --allow_programs" : "");
}

// `act` is recipes::check_run_directory or prepare_run_directory.
template <typename Config, typename Act>
Result<void> with_folder(const RolloutRecipe<Config>& recipe, const Config& config, Act act) {
  Config now = kept(config), stored = recipe.defaults;
  return act(run_directory(config), recipe.fields(now), recipe.fields(stored));
}

// The recipe's key for max_completion_length.
std::string length_key(std::string_view verb) {
  const auto group = recipes::group_recipe(verb);
  return group && recipes::GrpoConfig(*group).compares_pairs() ? "max_new_tokens" : "max_completion_length";
}

Result<data::PromptSet> load_prompts(std::string_view verb, const RolloutConfig& config, const Session& session,
                                     const std::vector<rewards::Reward>& rewards,
                                     const std::vector<rewards::Reward>& gold) {
  data::Rows rows = TRY(data::read_rows(config.dataset_name));
  TRY(rewards::check_rows(rewards, rows));
  TRY(rewards::check_rows(gold, rows));
  const data::PromptOptions options{std::string(verb), session.files.config.max_positions, config.max_completion_length,
                                    length_key(verb), config.max_prompt_length};
  return data::load_prompts(std::move(rows), session.tokenizer(), session.chat_template(), session.files.special_tokens,
                            options);
}

// How far apart the members of the recipe's ensemble are, if it has one. `models` must outlive the answer.
std::function<std::vector<double>()> disagreement_of(const RolloutConfig& config, const recipes::RewardModels& models) {
  if (config.reward_model_path.size() < 2) return {};
  return [&models] { return models.disagreement(recipes::kRewardModel); };
}

StepStatus status_of(const recipes::StepReport& report, std::string_view kl) {
  StepStatus status;
  status.step = report.step;
  status.steps = report.steps;
  status.reward = metric(*report.metrics, "reward");
  if (!kl.empty()) status.kl = metric(*report.metrics, kl);
  status.length_tokens = metric(*report.metrics, "completions/mean_length");
  status.tokens_per_s = report.tokens_per_s;
  status.step_time_s = metric(*report.metrics, "step_time");
  status.memory_bytes = peak_resident_bytes();
  return status;
}

void print_table(const Json& summary) {
  fmt::print("\n{}\n\n", printable(summary["verdict"].get<std::string>()));
  if (summary.contains("evaluations")) {
    const Json& evaluations = summary["evaluations"];
    fmt::print("  {:<10}{:>10}{:>10}{:>14}{:>22}\n", "", "before", "after", "difference", "95% interval");
    for (const char* name : {"greedy", "sampled"}) {
      const Json& e = evaluations[name];
      fmt::print("  {:<10}{:>9.1f}%{:>9.1f}%{:>+13.1f}%{:>22}\n", name, 100 * e["before"]["accuracy"].get<double>(),
                 100 * e["after"]["accuracy"].get<double>(), 100 * e["difference"].get<double>(),
                 fmt::format("{:+.1f}% to {:+.1f}%", 100 * e["difference_interval"][0].get<double>(),
                             100 * e["difference_interval"][1].get<double>()));
    }
    const Json& prose = evaluations["prose"];
    fmt::print(
        "  {:<10}{:>10.4f}{:>10.4f}{:>+14.4f}{:>22}   nats per token; above 0: prose has become less likely\n", "prose",
        prose["before_nats_per_token"].get<double>(), prose["after_nats_per_token"].get<double>(),
        prose["difference"].get<double>(),
        fmt::format("{:+.4f} to {:+.4f}", prose["interval"][0].get<double>(), prose["interval"][1].get<double>()));
  }
}

// The run itself. Its exit code, once everything is set up.
template <typename Config>
Result<int> run(const RolloutRecipe<Config>& recipe, const RolloutJob<Config>& job, Progress& progress,
                const std::atomic<bool>& stop) {
  const JobClock clock;
  RolloutInputs inputs = TRY(read_rollout_inputs(recipe.name, job.config));
  const auto planned = TRY(plan_run<Config>(recipe.name, job.config, planner_of(recipe, inputs)));
  if (planned.refused) {
    print_error(planned.refused->message);
    return static_cast<int>(kUsage);
  }
  const Config& config = planned.config;
  progress.say(plan_line(planned.plan, planned.limit, config));
  const std::unique_ptr<Session>& session = inputs.session;
  const std::optional<Evaluator>& evaluator = inputs.evaluator;
  TRY(load_job_weights(config, *session));
  TRY(inputs.reward_models->load(config, session->context, session->model, session->files));
  TRY(inputs.gold_models->load(recipes::gold_recipe(config), session->context, session->model, session->files, "gold"));
  const Json example = inputs.prompts.prompts.front().row.columns.value("prompt", Json(""));
  TRY(recipes::first_watch(config.guard, recipe_yaml(recipe, job.config)));
  const Train train = TRY(recipe.start(config, *session, inputs.prompts));
  TRY(with_folder(recipe, job.config, recipes::prepare_run_directory));
  const FolderLock lock = TRY(claim_run(recipe.name, config, clock, progress));
  const auto goes_on = [&](std::string_view resume) { return go_on(recipe.name, config, resume); };

  auto evaluate_now = [&](const engine::Adapter* adapter, const char* when) -> Result<std::optional<Evaluation>> {
    const int64_t items = static_cast<int64_t>(evaluator->prompts.prompts.size());
    return evaluate(
        *evaluator, adapter,
        {[&, items](int64_t done, int64_t) { progress.doing(fmt::format("evaluating {} {}/{}", when, done, items)); },
         [&] { return stop.load(); }});
  };
  std::optional<Evaluation> before;
  if (evaluator) {
    before = TRY(evaluate_now(nullptr, "before"));
    if (!before) {
      progress.say(fmt::format("interrupted in the evaluation before training. Go on with: {}", goes_on("auto")));
      return static_cast<int>(kInterrupted);
    }
    progress.say(
        fmt::format("before: greedy {}, sampled {}", eval::in_words(before->greedy), eval::in_words(before->sampled)));
  }

  const Json screening = TRY(screen_before_run(recipe.name, config, inputs.rewards, inputs.prompts, *session,
                                               [&](const std::string& line) { progress.say(line); }));

  recipes::RolloutParts parts{.context = session->context,
                              .model = session->model,
                              .tokenizer = session->tokenizer(),
                              .prompts = std::move(inputs.prompts),
                              .rewards = std::move(inputs.rewards),
                              .gold = std::move(inputs.gold),
                              .disagreement = disagreement_of(config, *inputs.reward_models),
                              .recipe_yaml = recipe_yaml(recipe, job.config),
                              .evaluate = {},
                              .report = [&](const recipes::StepReport& r) { progress.step(status_of(r, recipe.kl)); },
                              .doing = [&](const std::string& what) { progress.doing(what); },
                              .interrupted = [&] { return stop.load(); },
                              .say = [&](const std::string& line) { progress.say(line); }};
  if (evaluator) parts.held_out = &evaluator->prompts;
  if (evaluator)
    parts.evaluate = [&](const engine::Adapter& adapter, int64_t step) -> Result<std::optional<algorithms::Metrics>> {
      const engine::SamplingCallbacks callbacks{{}, [&] { return stop.load(); }};
      progress.doing(fmt::format("evaluating after step {}", step));
      const auto greedy = TRY(answer_task(*evaluator, &adapter, evaluator->greedy, callbacks));
      if (!greedy) return std::optional<algorithms::Metrics>();
      const auto sampled = TRY(answer_task(*evaluator, &adapter, evaluator->sampled, callbacks));
      if (!sampled) return std::optional<algorithms::Metrics>();
      progress.say(fmt::format("step {}: held out, greedy {}", step, eval::in_words(*greedy)));
      return std::optional(algorithms::Metrics{{"eval/accuracy_greedy", greedy->accuracy},
                                               {"eval/accuracy_sampled", sampled->accuracy}});
    };
  const recipes::RolloutResult result = TRY(train(std::move(parts)));
  if (result.interrupted) {
    progress.say(fmt::format("interrupted after step {}; saved. Go on with: {}", result.steps, goes_on("true")));
    return static_cast<int>(kInterrupted);
  }

  const bool stopped = !result.guard.stopped.empty(), has_final = !stopped || result.guard.good_step > 0;
  if (stopped) progress.say(stop_text(result.guard, config, result.steps, goes_on("true")));
  const fs::path final_folder = fs::path(config.output_dir) / "final";
  Config copy = job.config;
  Json summary = summary_head(job.command, recipe.fields(copy), config.seed, *session, clock);
  summary["steps"] = result.steps;
  summary["num_tokens"] = result.num_tokens;
  summary["step_time_s"] = result.median_step_s;
  add_plan(summary, planned.plan, planned.limit, config);
  summary["verdict"] = fmt::format("{} steps of {}; no eval_dataset, so nothing says whether the model is better.",
                                   result.steps, recipe.name);
  if (evaluator && has_final) {
    const auto after = TRY(evaluate_now(&result.adapter, "after"));
    if (!after) {
      progress.say(fmt::format("interrupted in the evaluation after training; the adapter is in {}. Go on with: {}",
                               final_folder.string(), goes_on("auto")));
      return static_cast<int>(kInterrupted);
    }
    summary["evaluations"] = TRY(compare_evaluations(*before, *after));
    summary["samples"] = sample_answers(*evaluator, *before, *after, 12);
    summary["verdict"] = verdict(summary["evaluations"]);
  }
  add_guard(summary, result.guard);
  if (!screening.is_null()) summary["screening"] = screening;
  if (has_final) summary["talk_to_it"] = how_to_talk(config, final_folder, example);
  return end_job(std::move(summary), job.json, config, "adapter", *session, clock, print_table);
}

}  // namespace

Result<RolloutInputs> read_rollout_inputs(std::string_view verb, const RolloutConfig& config, const OpenFiles& open) {
  RolloutInputs inputs;
  inputs.reward_models = std::make_unique<recipes::RewardModels>();
  inputs.rewards = TRY(recipes::make_rewards(config, *inputs.reward_models));
  inputs.gold_models = std::make_unique<recipes::RewardModels>();
  inputs.gold = TRY(recipes::make_rewards(recipes::gold_recipe(config), *inputs.gold_models));
  std::optional<data::Rows> held_out;
  if (!config.eval_dataset.empty()) held_out = TRY(data::read_rows(config.eval_dataset));
  inputs.meter.mark("data", "rows");
  inputs.session = TRY(open(config));
  inputs.meter.mark("program", "tokenizer");
  inputs.prompts = TRY(load_prompts(verb, config, *inputs.session, inputs.rewards, inputs.gold));
  if (held_out) {
    inputs.evaluator.emplace(
        TRY(make_evaluator(*inputs.session, std::move(*held_out),
                           {config.accuracy_extraction, config.max_prompt_length, config.max_completion_length,
                            config.temperature, static_cast<uint64_t>(config.seed), config.stop, length_key(verb)})));
    inputs.prose = TRY(eval::prose_lengths(inputs.session->tokenizer()));
  }
  inputs.meter.mark("data", "prompts");
  return inputs;
}

template <typename Config>
recipes::PlanOf<Config> planner_of(const RolloutRecipe<Config>& recipe, const RolloutInputs& inputs) {
  recipes::GrpoWorkload workload{longest_prompt(inputs.prompts), {}, inputs.prose};
  if (inputs.evaluator) workload.evaluation = sampling_shape(*inputs.evaluator);
  return [&inputs, workload, plan = recipe.plan](const Config& config) {
    Session& session = *inputs.session;
    return plan(config, {session.context.kernels, session.pool, session.files, inputs.meter.held()}, workload);
  };
}

template <typename Config>
int run_rollout_job(const RolloutRecipe<Config>& recipe, const RolloutJob<Config>& job) {
  return run_job(
      job.config, [&] { return with_folder(recipe, job.config, recipes::check_run_directory); }, job.prepare,
      [&](Progress& progress, const std::atomic<bool>& stop) { return run(recipe, job, progress, stop); });
}

template recipes::PlanOf<recipes::GrpoConfig> planner_of(const RolloutRecipe<recipes::GrpoConfig>&,
                                                         const RolloutInputs&);
template recipes::PlanOf<recipes::PpoConfig> planner_of(const RolloutRecipe<recipes::PpoConfig>&, const RolloutInputs&);
template int run_rollout_job(const RolloutRecipe<recipes::GrpoConfig>&, const RolloutJob<recipes::GrpoConfig>&);
template int run_rollout_job(const RolloutRecipe<recipes::PpoConfig>&, const RolloutJob<recipes::PpoConfig>&);

}  // namespace candor::cli
