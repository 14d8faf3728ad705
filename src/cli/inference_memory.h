// The memory of a verb that runs a model without training it (generate, score, eval, chat): planned before a weight is
// read, refused where it does not fit.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/memory.h"
#include "cli/options.h"
#include "cli/session.h"
#include "engine/continuations.h"
#include "engine/sampler.h"

namespace candor::cli {

// An adapter of this model, as a plan counts it too.
using MakeAdapter = std::function<Result<engine::Adapter>(const engine::Context&, const engine::Model&)>;

// What the model is asked for at once.
struct InferenceWork {
  engine::SamplingShape sampled = {};  // no requests: nothing is
  engine::SamplingOptions options = {};
  std::vector<int64_t> scored = {};  // tokens of each row
  std::vector<engine::ContinuationRequest> continued = {};
  std::vector<MakeAdapter> others = {};  // beside --adapter, each in its place for what is continued
};

// Error: the adapter, or the dtype, does not fit the model.
Result<engine::MemoryPlan> plan_inference(Session& session, const ModelOptions& model, const InferenceWork& work,
                                          const std::vector<recipes::HeldBytes>& held);

// Up to three changes of the verb's flags with which it fits, the cheapest first. `rows`: the flag for
// options.max_rows, or empty where there is none.
std::vector<recipes::Change> inference_changes(Session& session, const ModelOptions& model, const InferenceWork& work,
                                               const std::vector<recipes::HeldBytes>& held, std::string_view rows,
                                               int64_t limit);

// Why the verb is refused, or nothing. Error: as plan_inference.
Result<std::optional<Error>> refuse_inference(std::string_view verb, Session& session, const ModelOptions& model,
                                              const InferenceWork& work, const std::vector<recipes::HeldBytes>& held,
                                              std::string_view rows = "");

}  // namespace candor::cli
