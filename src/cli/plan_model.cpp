#include "cli/plan_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/input_file.h"
#include "cli/exit_code.h"
#include "cli/memory.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "engine/model_weights.h"
#include "engine/score.h"
#include "files/llama_shapes.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

namespace fs = std::filesystem;

// A tokenizer that is not at hand: what SmolLM2's and the project's own take for each entry of their vocabularies,
// tables of merges included.
constexpr int64_t kTokenizerBytesPerEntry = 400;

Result<PlanModel> plan_shapes(const files::ModelShapes& shapes, int threads) {
  PlanModel model;
  HeldMeter meter;
  model.session = TRY(empty_session(threads));
  model.session->files.config = shapes.config;
  model.session->files.weights = engine::weight_shapes(shapes.config, shapes.weight_type);
  meter.mark("program", "threads");
  model.held = meter.held();
  model.held.push_back({"program", "tokenizer", shapes.config.vocab_size * kTokenizerBytesPerEntry});
  if (!shapes.note.empty()) model.notes.push_back(shapes.note);
  return model;
}

struct InferenceOptions {
  ModelOptions model;
  int64_t rows = 64, prompt_tokens = 512, max_new_tokens = 256;
  std::string max_memory = "auto";
};

Result<engine::MemoryPlan> plan_of(const std::string& verb, const InferenceOptions& options, PlanModel& on) {
  Session& session = *on.session;
  engine::Planner planner(session.context.kernels, session.pool);
  const engine::Context& context = planner.context();
  for (const recipes::HeldBytes& held : on.held) planner.hold(held.role, held.name, held.bytes);
  const engine::Dtype dtype =
      TRY(engine::choose_dtype(options.model.dtype, options.model.activations, session.files, session.context.kernels));
  const engine::Model model = TRY(engine::load_model(context, session.files, dtype));
  std::optional<engine::Adapter> adapter;
  if (!options.model.adapter.empty())
    adapter = TRY(engine::adapter_from_peft(context, model, TRY(files::read_peft_adapter(options.model.adapter))));
  const engine::Adapter* role = adapter ? &*adapter : nullptr;
  planner.phase(verb == "score" ? "scoring" : "generation", [&] {
    if (verb == "score") return engine::plan_scoring(context, model, role, std::array{options.prompt_tokens});
    const int64_t rows = verb == "chat" ? 1 : options.rows;
    engine::SamplingOptions sampling;
    sampling.max_rows = rows;
    engine::plan_sampling(context, model, role, {rows, 1, options.prompt_tokens, options.max_new_tokens}, sampling);
  });
  return planner.take();
}

}  // namespace

Result<PlanModel> open_plan_model(const std::string& name, int threads) {
  const bool bare = name.ends_with(".json");
  if (bare) return plan_shapes(TRY(files::read_model_shapes(name)), threads);
  HeldMeter meter;
  auto session = open_files(name, threads);
  if (session) {
    meter.mark("program", "tokenizer");
    return PlanModel{std::move(*session), meter.held(), {}};
  }
  const fs::path config = fs::path(name) / "config.json";
  if (!path_exists(config)) return session.error();
  PlanModel model = TRY(plan_shapes(TRY(files::read_model_shapes(config)), threads));
  model.notes.push_back(fmt::format("planned by config.json alone: {}", session.error().message));
  return model;
}

Result<PlanModel> plan_model_of(const files::ModelConfig& config, int threads) {
  return plan_shapes({config, "F32", ""}, threads);
}

int plan_inference(const std::string& verb, const Words& words) {
  InferenceOptions options;
  Options command("plan " + verb, fmt::format("The memory of candor {}, before anything is loaded.", verb));
  options.model.add_model(command.app);
  options.model.add_adapter(command.app);
  options.model.add_dtype(command.app);
  options.model.add_threads(command.app);
  options.model.add_json(command.app, "one JSON object");
  if (verb == "generate")
    command.app.add_option("--max_rows", options.rows, "rows generated together")->check(CLI::Range(1, 1 << 20));
  command.app.add_option("--prompt_tokens", options.prompt_tokens, "tokens of the longest prompt, or row to score")
      ->check(CLI::Range(2, 1 << 24));
  if (verb != "score")
    command.app.add_option("--max_new_tokens", options.max_new_tokens, "tokens of a completion")
        ->check(CLI::Range(1, 1 << 24));
  command.app.add_option("--max_memory", options.max_memory, "the limit that the plan is held against, as 8GB");
  if (const auto over = command.parse(words)) return *over;
  recipes::TrainingConfig limits;
  limits.max_memory = options.max_memory;
  const auto limit = limit_of(limits);
  if (!limit) {
    print_error(fmt::format("--max_memory: {}", limit.error().message));
    return kUsage;
  }
  auto model = open_plan_model(options.model.model, options.model.threads);
  if (!model) return fail(model.error());
  const auto plan = plan_of(verb, options, *model);
  if (!plan) return fail(plan.error());
  for (const std::string& note : model->notes) print_note(note);
  if (options.model.json)
    fmt::print("{}\n", files::json_line(plan_json(*plan, *limit)));
  else
    print_plan(*plan, *limit);
  return plan->peak_bytes() <= limit->bytes ? kOk : kUsage;
}

}  // namespace candor::cli
