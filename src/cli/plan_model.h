// What `candor plan` plans on: a model's files or shapes, and the verbs that only run a model.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/session.h"
#include "cli/verbs.h"
#include "recipes/memory_plan.h"

namespace candor::cli {

struct PlanModel {
  std::unique_ptr<Session> session;  // without weights; of a bare config.json also without a tokenizer
  std::vector<recipes::HeldBytes> held;
  std::vector<std::string> notes;  // for the user
};

// `name`: as every verb takes MODEL, or a config.json, or a folder that holds no more than one.
Result<PlanModel> open_plan_model(const std::string& name, int threads);
// A model of these shapes, float32 where no dtype is given.
Result<PlanModel> plan_model_of(const files::ModelConfig& config, int threads);

inline constexpr std::array<std::string_view, 3> kInferenceVerbs = {"generate", "chat", "score"};
// candor plan generate|chat|score MODEL: prints the plan; the exit code.
int plan_inference_verb(const std::string& verb, const Words& words);

}  // namespace candor::cli
