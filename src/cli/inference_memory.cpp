#include "cli/inference_memory.h"

#include <algorithm>
#include <functional>

#include "engine/roles.h"
#include "engine/score.h"
#include "files/peft_adapter.h"

namespace candor::cli {

namespace {

// What a change may touch.
struct Inference {
  ModelOptions model;
  InferenceWork work;
};

// Takes one step further each time; the flags, or empty at its end.
using Way = std::function<std::string(Inference&)>;

std::string halve(std::string_view flag, int64_t& value, int64_t least) {
  if (flag.empty() || value <= least) return "";
  value = std::max(least, value / 2);
  return fmt::format("--{} {}", flag, value);
}

std::string smaller_dtype(Inference& inference) {
  constexpr std::string_view kSmaller[] = {"float32", "bfloat16", "int8", "int4"};
  const std::string& now = inference.model.dtype;
  const size_t at = now == "blocks" ? 2 : static_cast<size_t>(std::find(kSmaller, kSmaller + 3, now) - kSmaller);
  if (now == "int4") return "";
  inference.model.dtype = at == 3 ? kSmaller[1] : kSmaller[at + 1];  // nothing was asked for: from bfloat16 on
  return fmt::format("--dtype {}", inference.model.dtype);
}

}  // namespace

Result<engine::MemoryPlan> plan_inference(Session& session, const ModelOptions& model, const InferenceWork& work,
                                          const std::vector<recipes::HeldBytes>& held) {
  engine::Planner planner(session.context.kernels, session.pool);
  const engine::Context& context = planner.context();
  for (const recipes::HeldBytes& bytes : held) planner.hold(bytes.role, bytes.name, bytes.bytes);
  const engine::Model weights = TRY(engine::load_model(
      context, session.files,
      TRY(engine::choose_dtype(model.dtype, model.activations, session.files, session.context.kernels))));
  std::optional<engine::Adapter> adapter;
  std::optional<engine::ScalarHead> head;
  if (!model.adapter.empty()) {
    files::PeftAdapter saved = TRY(files::read_peft_adapter(model.adapter));
    // A reward model's, which scores rows; its passes are no larger than those of log-probabilities.
    if (work.sampled.requests == 0 && work.continued.empty())
      head = TRY(engine::take_scalar_head(context, weights, saved));
    adapter = TRY(engine::adapter_from_peft(context, weights, saved));
  }
  const engine::Adapter* role = adapter ? &*adapter : nullptr;
  std::vector<engine::Adapter> others;
  for (const MakeAdapter& make : work.others) others.push_back(TRY(make(context, weights)));
  if (work.sampled.requests > 0)
    planner.phase("generation", [&] { engine::plan_sampling(context, weights, role, work.sampled, work.options); });
  if (!work.continued.empty())
    planner.phase("answers", [&] {
      engine::plan_continuations(context, weights, role, work.continued);
      for (const engine::Adapter& other : others) engine::plan_continuations(context, weights, &other, work.continued);
    });
  if ((work.sampled.requests == 0 && work.continued.empty()) || !work.scored.empty())
    planner.phase("scoring", [&] { engine::plan_scoring(context, weights, role, work.scored); });
  return planner.take();
}

std::vector<recipes::Change> inference_changes(Session& session, const ModelOptions& model, const InferenceWork& work,
                                               const std::vector<recipes::HeldBytes>& held, std::string_view rows,
                                               int64_t limit) {
  constexpr int64_t kShortest = 16;
  const Way ways[] = {[&](Inference& i) { return halve(rows, i.work.options.max_rows, 1); }, smaller_dtype,
                      [](Inference& i) {
                        const bool asked = i.work.sampled.requests > 0;
                        return halve(asked ? "max_new_tokens" : "", i.work.sampled.longest_completion, kShortest);
                      }};
  std::vector<recipes::Change> changes;
  for (const Way& way : ways) {
    Inference changed{model, work};
    for (std::string flags; !(flags = way(changed)).empty();) {
      const auto plan = plan_inference(session, changed.model, changed.work, held);
      if (!plan) break;
      if (plan->peak_bytes() > limit) continue;
      changes.push_back({flags, plan->peak_bytes()});
      break;
    }
  }
  return changes;
}

Result<std::optional<Error>> refuse_inference(std::string_view verb, Session& session, const ModelOptions& model,
                                              const InferenceWork& work, const std::vector<recipes::HeldBytes>& held,
                                              std::string_view rows) {
  const MemoryLimit limit = TRY(limit_of(model.max_memory));
  const engine::MemoryPlan plan = TRY(plan_inference(session, model, work, held));
  if (plan.peak_bytes() <= limit.bytes) return std::optional<Error>();
  return std::optional(refusal(verb, plan, limit, inference_changes(session, model, work, held, rows, limit.bytes)));
}

}  // namespace candor::cli
