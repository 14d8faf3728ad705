// What every recipe's loop does beside its own step: where a run begins and its length.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "algorithms/metrics.h"
#include "base/result.h"
#include "data/prompt_order.h"
#include "engine/adapter.h"
#include "engine/scalar_head.h"
#include "recipes/training_config.h"
#include "recipes/training_state.h"

namespace candor::recipes {

// The arithmetic that the recipe's keys name, of a model in these files. Where every weight trains, auto means floats:
// float32 of a quantized file. Error: choose_dtype's.
Result<engine::Dtype> training_dtype(const TrainingConfig& config, const files::ModelFiles& files,
                                     const engine::Kernels& kernels);

// What one optimizer step tells whoever watches.
struct StepReport {
  int64_t step = 0, steps = 0;
  const algorithms::Metrics* metrics = nullptr;
  double tokens_per_s = 0;
};

// The adapter that training begins with: a new one, or the one that the recipe names. `head` becomes the scalar head
// that its file holds, if any; null: the file must have none. Error: it does not fit the model.
Result<engine::Adapter> first_adapter(const TrainingConfig& config, const engine::Context& context,
                                      const engine::Model& model, std::optional<engine::ScalarHead>* head = nullptr);

// Optimizer steps of the whole run over `rows` rows, of which a step takes `rows_per_step`.
int64_t total_steps(const TrainingConfig& config, int64_t rows, int64_t rows_per_step);

// Whether this step ends with a checkpoint, and whether it is evaluated where there is something to evaluate on.
bool saves_at(const TrainingConfig& config, int64_t step, bool last);
bool evaluates_at(const TrainingConfig& config, int64_t step, bool last);

// Passes over the rows so far.
double epochs_seen(const data::PromptStream& rows);

// Where a step that saves a checkpoint was evaluated: it becomes the best one if its metric_for_best_model says so.
void note_best(const TrainingConfig& config, const algorithms::Metrics& evaluated, TrainingState& state);

// What this step would do to the weights if it were taken. Error: a number that is not finite.
Result<void> check_finite(const TrainingConfig& config, std::string_view recipe, int64_t step, double loss,
                          double grad_norm);

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start);
double median(std::vector<double> values);  // the upper one of two in the middle; 0 without any

}  // namespace candor::recipes
