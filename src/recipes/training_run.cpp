#include "recipes/training_run.h"

#include <algorithm>
#include <cmath>

#include "engine/roles.h"

namespace candor::recipes {

namespace {

Result<void> check_dropout(const TrainingConfig& config, const engine::Adapter& adapter) {
  const char* what = adapter.config.use_dora          ? "DoRA"
                     : adapter.head_pair() != nullptr ? "an adapter on lm_head"
                                                      : nullptr;
  if (config.lora_dropout == 0 || what == nullptr) return {};
  return error("[adapter] lora_dropout {} is not supported with {}. Set it to 0.", config.lora_dropout, what);
}

}  // namespace

Result<engine::Dtype> training_dtype(const TrainingConfig& config, const files::ModelFiles& files,
                                     const engine::Kernels& kernels) {
  const engine::Dtype dtype = TRY(engine::choose_dtype(config.dtype, config.quantized_activations, files, kernels));
  const bool chosen = config.dtype != "auto" || config.use_peft || !dtype.quantized();
  return chosen ? dtype : engine::Dtype::kFloat32;
}

Result<engine::Adapter> first_adapter(const TrainingConfig& config, const engine::Context& context,
                                      const engine::Model& model, std::optional<engine::ScalarHead>* head) {
  if (config.adapter_name_or_path.empty()) {
    engine::Adapter adapter =
        TRY(engine::make_adapter(context, model, lora_config(config), static_cast<uint64_t>(config.seed)));
    TRY(check_dropout(config, adapter));
    return adapter;
  }
  files::PeftAdapter saved = TRY(files::read_peft_adapter(config.adapter_name_or_path));
  if (head != nullptr) *head = TRY(engine::take_scalar_head(context, model, saved));
  engine::Adapter adapter = TRY(engine::adapter_from_peft(context, model, saved));
  TRY(engine::check_base(model, saved));
  adapter.config.base_fingerprint = model.fingerprint;
  adapter.config.dropout = config.lora_dropout;
  TRY(check_dropout(config, adapter));
  return adapter;
}

int64_t total_steps(const TrainingConfig& config, int64_t rows, int64_t rows_per_step) {
  if (config.max_steps > 0) return config.max_steps;
  const double steps = config.num_train_epochs * static_cast<double>(rows) / static_cast<double>(rows_per_step);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(steps)));
}

bool saves_at(const TrainingConfig& config, int64_t step, bool last) {
  return last || (config.save_strategy == "steps" && step % config.save_steps == 0);
}

bool evaluates_at(const TrainingConfig& config, int64_t step, bool last) {
  return config.eval_strategy == "steps" && (step % *config.eval_steps == 0 || last);
}

double epochs_seen(const data::PromptStream& rows) {
  return static_cast<double>(rows.cursor.epoch) +
         static_cast<double>(rows.cursor.position) / static_cast<double>(rows.count);
}

void note_best(const TrainingConfig& config, const algorithms::Metrics& evaluated, TrainingState& state) {
  for (const algorithms::Metric& metric : evaluated) {
    if (metric.name != config.metric_for_best_model) continue;
    const bool better = config.best_is_greatest() ? metric.value > state.best_metric : metric.value < state.best_metric;
    if (state.best_step != 0 && !better) continue;
    state.best_step = state.step;
    state.best_metric = metric.value;
  }
}

Result<void> check_finite(const TrainingConfig& config, std::string_view recipe, int64_t step, double loss,
                          double grad_norm) {
  if (std::isfinite(loss) && std::isfinite(grad_norm)) return {};
  return error(
      "[{}] step {}: the loss is {} and the gradient norm {}: the training has diverged. No weight was "
      "changed in this step. Lower learning_rate (it is {}), or resume from an earlier checkpoint.",
      recipe, step, loss, grad_norm, config.learning_rate);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0.0 : values[values.size() / 2];
}

}  // namespace candor::recipes
