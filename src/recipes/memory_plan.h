// The memory plan of a recipe: its own allocations, in the order in which it makes them, for the worst batch that its
// rows can make (engine/memory_plan.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/sft.h"
#include "engine/memory_plan.h"
#include "engine/policy_pass.h"
#include "engine/sampler.h"
#include "files/model_files.h"
#include "recipes/grpo_config.h"
#include "recipes/sft_config.h"

namespace candor::recipes {

// What a run holds before it loads a weight, and until it ends.
struct HeldBytes {
  std::string role, name;  // "data", "tokenizer"
  int64_t bytes = 0;
};

// What a recipe is planned on.
struct PlanBase {
  const engine::Kernels& kernels;
  ThreadPool& pool;
  const files::ModelFiles& files;  // of which only the config and the weights' names, types and shapes are read
  std::vector<HeldBytes> held;
};

// A sequence as a pass takes it.
struct DocumentLength {
  int64_t row = 0;     // of the training rows, from 0
  int64_t prompt = 1;  // tokens before the first that counts
  int64_t completion = 0, entries = 0;
};

struct SftWorkload {
  std::vector<DocumentLength> train, held_out;        // in the order of their rows
  int64_t rows = 0;                                   // training rows
  std::optional<engine::SamplingShape> answers = {};  // that the evaluations before and after ask for
};
SftWorkload sft_workload(const data::SftSet& train, const data::SftSet* held_out);
// Where no rows are at hand: every row is max_length tokens long, or what the context holds.
SftWorkload sft_workload(const SftConfig& config, int64_t context_length);

// Error: the recipe does not fit the model (a target of the adapter, a dtype).
Result<engine::MemoryPlan> plan_sft(const SftConfig& config, const PlanBase& base, const SftWorkload& workload);

struct GrpoWorkload {
  int64_t longest_prompt = 1;
  std::optional<engine::SamplingShape> evaluation = {};  // the held-out items
  std::vector<int64_t> prose = {};                       // lengths of the paragraphs that an evaluation scores
};

// What the evaluations before, in and after a run hold while they last; and the completions of so many groups.
void plan_evaluation(const engine::Context& context, const engine::Model& model, const engine::Adapter* adapter,
                     const RolloutConfig& config, const GrpoWorkload& workload);
void plan_completions(engine::Planner& planner, const RolloutConfig& config, int64_t groups);

Result<engine::MemoryPlan> plan_grpo(const GrpoConfig& config, const PlanBase& base, const GrpoWorkload& workload);

// The micro-batches that the rows make on their way through the run: one of each number of tokens, the smallest first,
// with the larger of what else such batches are.
std::vector<engine::BatchShape> sft_batches(const SftConfig& config, const SftWorkload& workload);
// The larger of each over all micro-batches that completions of any length can make; shards: of how many contiguous
// parts a step's groups are.
engine::BatchShape worst_grpo_batch(const GrpoConfig& config, int64_t longest_prompt, int64_t shards);

}  // namespace candor::recipes
