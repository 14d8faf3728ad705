// candor plan [VERB] RECIPE.yaml: a run's memory, before anything is loaded.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "base/input_file.h"
#include "cli/distill_job.h"
#include "cli/exit_code.h"
#include "cli/grpo_job.h"
#include "cli/options.h"
#include "cli/plan_model.h"
#include "cli/plan_roles.h"
#include "cli/ppo_job.h"
#include "cli/preference_job.h"
#include "cli/preference_recipes.h"
#include "cli/recipe_command.h"
#include "cli/sft_job.h"
#include "cli/terminal.h"
#include "files/run_log.h"
#include "recipes/pretrain_config.h"

namespace candor::cli {

namespace {

using files::Json;
using recipes::DistillConfig;
using recipes::GrpoConfig;
using recipes::PpoConfig;
using recipes::SftConfig;
namespace fs = std::filesystem;

constexpr const char* kNone = "none";   // dataset_name and output_dir, which a plan can do without
constexpr int64_t kPromptTokens = 512;  // of a GRPO prompt, where neither rows nor max_prompt_length say
constexpr std::array kRecipeVerbs = {"pretrain", "sft",     "distill", "dpo",       "cpo",  "orpo",
                                     "kto",      "reward",  "prm",     "grpo",      "rloo", "online_dpo",
                                     "xpo",      "nash_md", "ppo",     "quickstart"};
constexpr int64_t kSumsTokens = 64;  // which the quickstart's prompts do not reach

constexpr const char* kHelp =
    R"(usage: candor plan [VERB] [RECIPE.yaml] [--key value ...]
         VERB: pretrain sft distill dpo cpo orpo kto reward prm grpo rloo online_dpo xpo nash_md ppo quickstart
       candor plan generate|chat|score MODEL [--option value ...]
       candor plan roles MODEL [--lora_r 16] [--dtype D] [--json]

Prints every buffer that the run would hold, by role, for the worst batch that its rows can make, and the peak over its
phases; nothing is loaded. Takes the recipe's keys (candor plan sft --help lists them). Without the verb the keys tell
which recipe it is.

  --model PATH       in the place of model_name_or_path; here also a bare config.json, so that a model can be planned
                     before it is downloaded
  --max_memory 8GB   the limit that the plan is held against; by default what this machine and its control group leave
  --json             one JSON object: peak_bytes, buffers (role, owner, name, bytes), fits, phases, changes

Where dataset_name is left out or is not there, or the model has no tokenizer, max_length (sft, distill, dpo and its like) or
max_prompt_length and max_completion_length (grpo) decide. Where it does not fit the exit code is 2, and the cheapest changes that would make it
fit are printed. roles: what PPO's policy, reference, reward model and critic keep from step to step on one base, and on
four. docs/memory.md says how to read a plan.
)";

// How many of these keys a recipe has.
template <typename Config>
int64_t known_keys(recipes::FieldList (*fields_of)(Config&), const std::vector<std::string>& keys) {
  Config config;
  const recipes::FieldList fields = fields_of(config);
  return std::count_if(keys.begin(), keys.end(), [&](const std::string& key) { return fields.find(key) != nullptr; });
}

// The verb that a recipe is for: the one that has most of its keys, of several the first of these.
Result<std::string> verb_of(const Words& words) {
  std::vector<std::string> keys;
  for (const std::string& word : words) {
    if (word.starts_with("--")) {
      keys.push_back(word.substr(2, word.find('=') - 2));
      std::replace(keys.back().begin(), keys.back().end(), '-', '_');
    } else if (word.ends_with(".yaml") || word.ends_with(".yml")) {
      for (std::string& key : TRY(recipes::recipe_keys(word))) keys.push_back(std::move(key));
    }
  }
  const std::pair<const char*, int64_t> known[] = {{"sft", known_keys(recipes::sft_fields, keys)},
                                                   {"grpo", known_keys(recipes::grpo_fields, keys)},
                                                   {"ppo", known_keys(recipes::ppo_fields, keys)},
                                                   {"distill", known_keys(recipes::distill_fields, keys)},
                                                   {"pretrain", known_keys(recipes::pretrain_fields, keys)},
                                                   {"dpo", known_keys(recipes::dpo_fields, keys)},
                                                   {"kto", known_keys(recipes::kto_fields, keys)},
                                                   {"cpo", known_keys(recipes::cpo_fields, keys)},
                                                   {"orpo", known_keys(recipes::orpo_fields, keys)},
                                                   {"reward", known_keys(recipes::reward_fields, keys)},
                                                   {"prm", known_keys(recipes::prm_fields, keys)}};
  const auto* most = std::max_element(std::begin(known), std::end(known),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  return std::string(most->first);
}

// A plan, and what the user should know of how it came about.
struct Planned {
  engine::MemoryPlan plan;
  MemoryLimit limit;
  recipes::TrainingConfig config;        // with what the plan chose
  std::vector<recipes::Change> changes;  // where it does not fit
  std::vector<std::string> notes;
};

template <typename Config>
Result<Planned> fit(const Config& config, const recipes::PlanOf<Config>& plan_of, std::vector<std::string> notes) {
  const MemoryLimit limit = TRY(limit_of(config.max_memory));
  auto fitted = TRY(recipes::fit_into(config, plan_of, limit.bytes));
  Planned planned{std::move(fitted.plan), limit, fitted.config, {}, std::move(notes)};
  if (planned.plan.peak_bytes() > limit.bytes)
    planned.changes = recipes::cheapest_changes(config, plan_of, limit.bytes);
  return planned;
}

// Whether the rows can be read and turned into tokens; else `notes` says what decides in their place.
template <typename Config>
bool rows_at_hand(Config& config, const PlanModel& model, std::string_view otherwise, std::vector<std::string>& notes) {
  const std::string why = config.dataset_name == kNone        ? "no dataset_name is given"
                          : !path_exists(config.dataset_name) ? fmt::format("{} is not there", config.dataset_name)
                          : !model.session->files.tokenizer   ? "the model has no tokenizer here"
                                                              : "";
  if (why.empty()) return true;
  notes.push_back(fmt::format("{}: {}", why, otherwise));
  return false;
}

// A model whose weights need not be there.
Result<std::unique_ptr<Session>> open_session_of_plan(const recipes::TrainingConfig& config) {
  return std::move(TRY(open_plan_model(config.model_name_or_path, static_cast<int>(config.threads))).session);
}

recipes::PlanBase base_of(PlanModel& model) {
  return {model.session->context.kernels, model.session->pool, model.session->files, model.held};
}

Result<Planned> plan_sft_recipe(SftConfig config) {
  PlanModel model = TRY(open_plan_model(config.model_name_or_path, static_cast<int>(config.threads)));
  std::vector<std::string> notes = model.notes;
  if (!config.eval_dataset.empty() && !path_exists(config.eval_dataset)) config.eval_dataset.clear();
  if (rows_at_hand(config, model, "every row is taken to be max_length tokens long", notes)) {
    model = PlanModel();  // read anew with the rows, and counted there
    const SftInputs inputs = TRY(read_sft_inputs(
        config, [&](const std::string& line) { notes.push_back(line); }, open_session_of_plan));
    return fit<SftConfig>(config, planner_of(inputs), std::move(notes));
  }
  const recipes::SftWorkload workload = recipes::sft_workload(config, model.session->files.config.max_positions);
  return fit<SftConfig>(
      config, [&](const SftConfig& c) { return recipes::plan_sft(c, base_of(model), workload); }, std::move(notes));
}

Result<Planned> plan_preference_recipe(recipes::PreferenceConfig config, std::string_view verb, PreferenceWork& work) {
  using Config = recipes::PreferenceConfig;
  PlanModel model = TRY(open_plan_model(config.model_name_or_path, static_cast<int>(config.threads)));
  std::vector<std::string> notes = model.notes;
  if (!config.eval_dataset.empty() && !path_exists(config.eval_dataset)) config.eval_dataset.clear();
  if (rows_at_hand(config, model, "every row is taken to be max_length tokens long", notes)) {
    model = PlanModel();  // read anew with the rows, and counted there
    const PreferenceInputs inputs = TRY(read_preference_inputs(
        verb, config, work, [&](const std::string& line) { notes.push_back(line); }, open_session_of_plan));
    return fit<Config>(config, planner_of(inputs, work), std::move(notes));
  }
  const recipes::PreferenceWorkload workload =
      recipes::preference_workload(config, model.session->files.config.max_positions, work.completions());
  return fit<Config>(
      config, [&](const Config& c) { return work.plan(c, base_of(model), workload); }, std::move(notes));
}

Result<Planned> plan_distill_recipe(DistillConfig config) {
  PlanModel model = TRY(open_plan_model(config.model_name_or_path, static_cast<int>(config.threads)));
  std::vector<std::string> notes = model.notes;
  if (!config.eval_dataset.empty() && !path_exists(config.eval_dataset)) config.eval_dataset.clear();
  if (rows_at_hand(config, model, "every row is taken to be max_length tokens long", notes)) {
    model = PlanModel();
    const DistillInputs inputs = TRY(read_distill_inputs(
        config, [&](const std::string& line) { notes.push_back(line); }, open_session_of_plan));
    return fit<DistillConfig>(config, planner_of(inputs), std::move(notes));
  }
  const recipes::TeacherFiles teacher = TRY(recipes::open_teacher(config, model.session->files));
  const std::string told = TRY(recipes::teacher_prompt_text(config));
  const recipes::DistillWorkload workload =
      recipes::distill_workload(config, model.session->files.config.max_positions,
                                static_cast<int64_t>(told.size()));  // a token is a byte or more
  return fit<DistillConfig>(
      config, [&](const DistillConfig& c) { return recipes::plan_distill(c, base_of(model), teacher, workload); },
      std::move(notes));
}

Result<Planned> plan_pretrain_recipe(const recipes::PretrainConfig& config) {
  PlanModel model = TRY(plan_model_of(TRY(recipes::pretrain_model_config(config)), static_cast<int>(config.threads)));
  const recipes::SftWorkload workload = recipes::sft_workload(config, config.max_position_embeddings);
  return fit<SftConfig>(
      config, [&](const SftConfig& c) { return recipes::plan_sft(c, base_of(model), workload); },
      {"every row is taken to be max_length tokens long, and the vocabulary as large as vocab_size allows"});
}

template <typename Config>
Result<Planned> plan_rollouts(const RolloutRecipe<Config>& recipe, Config config) {
  PlanModel model = TRY(open_plan_model(config.model_name_or_path, static_cast<int>(config.threads)));
  std::vector<std::string> notes = model.notes;
  if (!config.eval_dataset.empty() && !path_exists(config.eval_dataset)) config.eval_dataset.clear();
  const int64_t room = model.session->files.config.max_positions - config.max_completion_length;
  const int64_t prompt = config.max_prompt_length.value_or(std::clamp<int64_t>(room, 1, kPromptTokens));
  if (rows_at_hand(config, model, fmt::format("every prompt is taken to be {} tokens long", prompt), notes)) {
    model = PlanModel();
    const RolloutInputs inputs = TRY(read_rollout_inputs(recipe.name, config, open_session_of_plan));
    return fit<Config>(config, planner_of(recipe, inputs), std::move(notes));
  }
  return fit<Config>(
      config,
      [&](const Config& c) {
        return recipe.plan(c, base_of(model), {prompt, {}, {}});
      },
      std::move(notes));
}

Result<Planned> plan_grpo_recipe(GrpoConfig config) {
  return plan_rollouts(grpo_recipe(config), config);
}

Result<Planned> plan_ppo_recipe(PpoConfig config) {
  return plan_rollouts(ppo_recipe(), std::move(config));
}

// A plan needs no reward: any rule takes the same memory.
Result<void> resolve_ppo_plan(PpoConfig& config, const recipes::Given& given) {
  if (config.reward_funcs.empty() && config.reward_model_path.empty()) config.reward_funcs = {"accuracy"};
  return recipes::resolve_ppo(config, given);
}

// Prints it; the exit code.
int report(const Planned& planned, std::string_view verb, bool json) {
  const bool fits = planned.plan.peak_bytes() <= planned.limit.bytes;
  if (json) {
    Json out = plan_json(planned.plan, planned.limit);
    out["recipe"] = verb;
    out["micro_batch_tokens"] = recipes::micro_batch_tokens(planned.config);
    out["gradient_checkpointing"] = planned.config.gradient_checkpointing;
    out["notes"] = planned.notes;
    out["changes"] = changes_json(planned.changes);
    fmt::print("{}\n", files::json_line(out));
    return fits ? kOk : kUsage;
  }
  for (const std::string& note : planned.notes) print_note(note);
  print_plan(planned.plan, planned.limit);
  fmt::print("  {}\n", passes_text(planned.config));
  if (!fits) print_error(refusal(verb, planned.plan, planned.limit, planned.changes).message);
  return fits ? kOk : kUsage;
}

// A recipe's verb: its keys are read as the verb reads them, but none is required beside the model.
template <typename Config, typename Fields, typename Resolve, typename Plan>
int plan_recipe(std::string_view verb, const Words& words, Config config, Fields fields_of, Resolve resolve,
                Plan plan) {
  config.dataset_name = config.output_dir = kNone;
  const recipes::FieldList fields = fields_of(config);
  const std::string name = fmt::format("plan {}", verb);
  const RecipeStart start =
      start_recipe({name, "What this recipe would hold in memory. candor plan --help says more."}, fields, words);
  if (start.exit_code) return *start.exit_code;
  if (const auto resolved = resolve(config, start.given); !resolved) {
    print_error(resolved.error().message);
    return kUsage;
  }
  const auto planned = plan(config);
  return planned ? report(*planned, verb, start.json) : fail(planned.error());
}

template <typename Config>
int plan_recipe(const PreferenceRecipe<Config>& recipe, const Words& words) {
  return plan_recipe(recipe.verb.name, words, Config(), recipe.fields, recipe.resolve, [&](const Config& config) {
    return plan_preference_recipe(config, recipe.verb.name, *work_of(config));
  });
}

int plan_named_recipe(const std::string& verb, const Words& words) {
  if (verb == kDpo.verb.name) return plan_recipe(kDpo, words);
  if (verb == kCpo.verb.name) return plan_recipe(kCpo, words);
  if (verb == kOrpo.verb.name) return plan_recipe(kOrpo, words);
  if (verb == kKto.verb.name) return plan_recipe(kKto, words);
  if (verb == kReward.verb.name) return plan_recipe(kReward, words);
  if (verb == kPrm.verb.name) return plan_recipe(kPrm, words);
  if (verb == "sft")
    return plan_recipe("sft", words, SftConfig(), recipes::sft_fields, recipes::resolve_sft, plan_sft_recipe);
  if (verb == "distill")
    return plan_recipe("distill", words, DistillConfig(), recipes::distill_fields, recipes::resolve_distill,
                       plan_distill_recipe);
  if (verb == "pretrain")
    return plan_recipe("pretrain", words, recipes::PretrainConfig(), recipes::pretrain_fields,
                       recipes::resolve_pretrain, plan_pretrain_recipe);
  if (verb == "ppo")
    return plan_recipe("ppo", words, PpoConfig(), recipes::ppo_fields, resolve_ppo_plan, plan_ppo_recipe);
  GrpoConfig config(recipes::group_recipe(verb).value_or(recipes::GroupRecipe::kGrpo));
  config.reward_funcs = {"accuracy"};
  if (verb == "quickstart") {
    Words rest = words;
    config = quickstart_recipe(std::erase(rest, "--offline") > 0);
    config.max_prompt_length = kSumsTokens;
    config.eval_dataset.clear();
    return plan_recipe("quickstart", rest, config, recipes::grpo_fields, recipes::resolve_grpo, plan_grpo_recipe);
  }
  return plan_recipe(verb.c_str(), words, config, recipes::grpo_fields, recipes::resolve_grpo, plan_grpo_recipe);
}

}  // namespace

int plan(const Words& words) {
  Words rest = words;
  const auto names = [&](const auto& verbs) {
    return !rest.empty() && std::find(verbs.begin(), verbs.end(), rest.front()) != verbs.end();
  };
  const bool asked = std::any_of(rest.begin(), rest.end(), [](const auto& w) { return w == "--help" || w == "-h"; });
  if (rest.empty() || (asked && rest.front() != "roles" && !names(kInferenceVerbs) && !names(kRecipeVerbs))) {
    fmt::print("{}", kHelp);
    return rest.empty() ? kUsage : kOk;
  }
  for (std::string& word : rest)
    if (word == "--model" || word.starts_with("--model=")) word.insert(std::strlen("--model"), "_name_or_path");
  const bool listing = std::find(rest.begin(), rest.end(), "--json") != rest.end();
  if (asked && names(kRecipeVerbs) && !listing) fmt::print("{}\n", kHelp);
  if (!rest.empty() && rest.front() == "roles") return plan_roles(Words(rest.begin() + 1, rest.end()));
  if (names(kInferenceVerbs)) return plan_inference_verb(rest.front(), Words(rest.begin() + 1, rest.end()));
  if (names(kRecipeVerbs)) return plan_named_recipe(rest.front(), Words(rest.begin() + 1, rest.end()));
  const auto verb = verb_of(rest);
  return verb ? plan_named_recipe(*verb, rest) : (print_error(verb.error().message), kUsage);
}

}  // namespace candor::cli
