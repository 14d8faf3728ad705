// candor guard screen [VERB] RECIPE.yaml: do the recipe's rewards pay for completions that say nothing?
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/consent.h"
#include "cli/exit_code.h"
#include "cli/grpo_job.h"
#include "cli/guard_verbs.h"
#include "cli/options.h"
#include "cli/ppo_job.h"
#include "cli/recipe_command.h"
#include "cli/screening.h"
#include "cli/terminal.h"
#include "files/run_log.h"
#include "recipes/training_run.h"

namespace candor::cli {
namespace {

using recipes::RolloutConfig;
namespace fs = std::filesystem;

constexpr size_t kPrompts = 8;  // that each key is a completion of

constexpr const char* kHelp =
    "Asks every reward of a recipe about the master keys of arXiv 2507.08794 (\":\", \"Thought process:\" and their "
    "like) "
    "as completions\nof its first prompts, before anything trains. The exit code is 1 where one is accepted. VERB is "
    "one "
    "of grpo (default), rloo,\nonline_dpo, xpo, nash_md, ppo: candor guard screen ppo RECIPE.yaml. The recipe's keys "
    "are "
    "taken as that verb takes them.";

// A folder for the scores that programs and endpoints are asked for, gone at the end: the run's own stays untouched.
struct ScratchFolder {
  fs::path path;

  static Result<ScratchFolder> make() {
    std::error_code failure;
    std::string name = (fs::temp_directory_path(failure) / "candor-screen-XXXXXX").string();
    if (failure || mkdtemp(name.data()) == nullptr) return error("[guard screen] no folder can be made in {}.", name);
    return ScratchFolder(name);
  }
  ScratchFolder(ScratchFolder&& other) noexcept : path(std::exchange(other.path, {})) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }

 private:
  explicit ScratchFolder(fs::path made) : path(std::move(made)) {}
};

// What the weights and a pass of each reward model take. Error: the recipe does not fit the model.
Result<engine::MemoryPlan> plan_screening(const RolloutConfig& config, const RolloutInputs& inputs) {
  Session& session = *inputs.session;
  engine::Planner planner(session.context.kernels, session.pool);
  const engine::Context& context = planner.context();
  for (const recipes::HeldBytes& held : inputs.meter.held()) planner.hold(held.role, held.name, held.bytes);
  const engine::Dtype dtype = TRY(recipes::training_dtype(config, session.files, session.context.kernels));
  const engine::Model model = TRY(engine::load_model(context, session.files, dtype));
  recipes::RewardModels models;
  TRY(models.load(config, context, model, session.files));
  planner.phase("rewards", [&] { models.plan(1, longest_prompt(inputs.prompts)); });
  return planner.take();
}

Result<int> screen(std::string_view verb, RolloutConfig config, bool json) {
  const ScratchFolder folder = TRY(ScratchFolder::make());
  config.output_dir = folder.path.string();
  config.eval_dataset.clear();
  RolloutInputs inputs = TRY(read_rollout_inputs(verb, config));
  Session& session = *inputs.session;
  if (recipes::names_reward_models(config)) {
    const MemoryLimit limit = TRY(limit_of(config.max_memory));
    const engine::MemoryPlan plan = TRY(plan_screening(config, inputs));
    if (plan.peak_bytes() > limit.bytes) {
      print_error(refusal("guard screen", plan, limit, {}).message);
      return static_cast<int>(kUsage);
    }
    TRY(load_job_weights(config, session));
    TRY(inputs.reward_models->load(config, session.context, session.model, session.files));
  }
  const auto screening = TRY(screen_recipe(config, inputs.rewards, inputs.prompts, kPrompts, session));
  if (json) {
    fmt::print("{}\n", files::json_line(screening_json(screening)));
  } else {
    for (const rewards::ScreenedReward& reward : screening.rewards)
      fmt::print("{}\n", printable(rewards::in_words(reward, screening)));
  }
  return static_cast<int>(screening.any_accepted() ? kFailed : kOk);
}

// Keys, consent, and the check itself.
template <typename Config>
int screen_by_recipe(std::string_view verb, Config config, recipes::FieldList (*fields_of)(Config&),
                     Result<void> (*resolve)(Config&, const recipes::Given&), const Words& words) {
  const RecipeStart start = start_with_consent(
      {"guard screen", kHelp}, fields_of(config), config,
      [&](const recipes::Given& given) { return resolve(config, given); }, words);
  if (start.exit_code) return *start.exit_code;
  const auto code = screen(verb, config, start.json);
  return code ? *code : fail(code.error());
}

}  // namespace

int guard_screen(const Words& words) {
  Words rest = words;
  const std::string verb = rest.empty() ? "" : rest.front();
  const auto group = [&](recipes::GroupRecipe recipe) {
    return screen_by_recipe(recipes::GrpoConfig(recipe).name(), recipes::GrpoConfig(recipe), recipes::grpo_fields,
                            recipes::resolve_grpo, rest);
  };
  using recipes::GroupRecipe;
  for (const GroupRecipe recipe :
       {GroupRecipe::kGrpo, GroupRecipe::kRloo, GroupRecipe::kOnlineDpo, GroupRecipe::kXpo, GroupRecipe::kNashMd})
    if (verb == recipes::GrpoConfig(recipe).name()) {
      rest.erase(rest.begin());
      return group(recipe);
    }
  if (verb == "ppo") {
    rest.erase(rest.begin());
    return screen_by_recipe("ppo", recipes::PpoConfig(), recipes::ppo_fields, recipes::resolve_ppo, rest);
  }
  return group(GroupRecipe::kGrpo);
}

}  // namespace candor::cli
