#include "cli/plan_roles.h"

#include <fmt/format.h>

#include <array>
#include <list>

#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/plan_model.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "engine/gradient_shards.h"
#include "engine/memory_plan.h"
#include "engine/optimizer.h"
#include "engine/roles.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

using engine::BufferKind;
using files::Json;

struct PpoRole {
  const char* name;
  bool adapter, head, trains;
};
constexpr PpoRole kPpo[] = {{"policy", true, false, true},
                            {"reference", false, false, false},
                            {"reward", true, true, false},
                            {"critic", true, true, true}};
constexpr const char* kBase = "base";
constexpr std::array kKinds = {BufferKind::kWeights, BufferKind::kAdapters, BufferKind::kHead, BufferKind::kGradients,
                               BufferKind::kOptimizer};

// A role with what it keeps from step to step. One gradient buffer: each further level of gradient_shards is another.
struct Kept {
  engine::Role role;
  std::optional<engine::AdamwState> optimizer;
  std::optional<engine::GradientShards> gradients;
};

// Every buffer of the base and of the four roles on it.
Result<std::vector<engine::PlannedBuffer>> buffers_of_roles(Session& session, const ModelOptions& options,
                                                            int64_t rank) {
  engine::Planner planner(session.context.kernels, session.pool);
  const engine::Context& context = planner.context();
  const engine::Dtype dtype =
      TRY(engine::choose_dtype(options.dtype, options.activations, session.files, context.kernels));
  const engine::Model base = TRY(engine::load_model(context, session.files, dtype));
  std::list<Kept> all;
  for (const PpoRole& ppo : kPpo) {
    files::LoraConfig lora;
    lora.r = rank;
    lora.target_modules = {"all-linear"};
    if (ppo.head) lora.modules_to_save = {engine::kScoreHead};
    all.push_back({
      ppo.adapter ? TRY(engine::make_role(context, ppo.name, base, lora, 0))
                               : engine::base_role(context, ppo.name, base),
                   {},
                   {}
    });
    Kept& kept = all.back();
    if (!ppo.trains) continue;
    const engine::Trainable trainable = engine::trainable_of(kept.role);
    const engine::Context own = kept.role.in(context);
    kept.optimizer = engine::make_adamw(own, trainable);
    kept.gradients.emplace(own.ledger, 1, trainable);
  }
  planner.phase("kept", [] {});
  return planner.take().phases.front().buffers;
}

int64_t bytes_of(const std::vector<engine::PlannedBuffer>& buffers, std::string_view owner, BufferKind kind) {
  int64_t sum = 0;
  for (const engine::PlannedBuffer& buffer : buffers)
    if (buffer.kind == kind && buffer.owner == (owner == kBase ? "" : owner)) sum += buffer.bytes;
  return sum;
}

// {dtype, rank, roles: [{role, bytes, weights, adapters, …}], one_base_bytes, four_bases_bytes}.
Json roles_json(const std::vector<engine::PlannedBuffer>& buffers, const std::string& dtype, int64_t rank) {
  Json roles = Json::array();
  int64_t all = 0, base = 0;
  std::vector<const char*> names = {kBase};
  for (const PpoRole& ppo : kPpo) names.push_back(ppo.name);
  for (const char* name : names) {
    Json row = {{"role", name}};
    int64_t own = 0;
    for (const BufferKind kind : kKinds) {
      row[std::string(engine::kind_name(kind))] = bytes_of(buffers, name, kind);
      own += bytes_of(buffers, name, kind);
    }
    row["bytes"] = own;
    all += own;
    if (name == kBase) base = own;
    roles.push_back(std::move(row));
  }
  return {{"dtype", dtype},
          {"rank", rank},
          {"roles", roles},
          {"one_base_bytes", all},
          {"four_bases_bytes", all + (static_cast<int64_t>(std::size(kPpo)) - 1) * base}};
}

void print_table(const Json& json) {
  const auto cell = [](int64_t bytes) { return bytes > 0 ? bytes_text(bytes) : "-"; };
  fmt::print("\n  {:<12}", "role");
  for (const BufferKind kind : kKinds) fmt::print("{:>12}", engine::kind_name(kind));
  fmt::print("{:>12}\n", "together");
  for (const Json& row : json["roles"]) {
    fmt::print("  {:<12}", row["role"].get<std::string>());
    for (const BufferKind kind : kKinds)
      fmt::print("{:>12}", cell(row[std::string(engine::kind_name(kind))].get<int64_t>()));
    fmt::print("{:>12}\n", cell(row["bytes"].get<int64_t>()));
  }
  fmt::print("\n  four roles on one base    {:>12}   {}, LoRA of rank {} on all linear layers\n",
             bytes_text(json["one_base_bytes"].get<int64_t>()), json["dtype"].get<std::string>(),
             json["rank"].get<int64_t>());
  fmt::print("  four roles on four bases  {:>12}\n", bytes_text(json["four_bases_bytes"].get<int64_t>()));
}

}  // namespace

int plan_roles(const Words& words) {
  ModelOptions options;
  int64_t rank = 16;
  Options command("plan roles",
                  "What PPO's policy, reference, reward model and critic keep from step to step: one base, adapters, "
                  "heads, and gradients and moments of the two that train. Passes come on top: candor plan grpo.");
  options.add_model(command.app);
  command.app.add_option("--lora_r", rank, "rank of the adapters, which are on all linear layers")
      ->check(CLI::Range(1, 4096));
  options.add_dtype(command.app);
  options.add_json(command.app, "one JSON object");
  if (const auto over = command.parse(words)) return *over;
  auto model = open_plan_model(options.model, options.threads);
  if (!model) return fail(model.error());
  const auto buffers = buffers_of_roles(*model->session, options, rank);
  if (!buffers) return fail(buffers.error());
  const auto dtype =
      engine::choose_dtype(options.dtype, options.activations, model->session->files, model->session->context.kernels);
  const Json json = roles_json(*buffers, engine::dtype_name(*dtype), rank);
  if (options.json) {
    fmt::print("{}\n", files::json_line(json));
    return kOk;
  }
  for (const std::string& note : model->notes) print_note(note);
  print_table(json);
  return kOk;
}

}  // namespace candor::cli
