// The teacher that a recipe names: an adapter on the student's base, a model of its own, or the base itself.
#pragma once

#include <optional>

#include "engine/roles.h"
#include "files/model_files.h"
#include "files/peft_adapter.h"
#include "recipes/distill_config.h"

namespace candor::recipes {

struct TeacherFiles {
  std::optional<files::ModelFiles> model;  // none: the student's base
  std::optional<files::PeftAdapter> adapter;
};

// Opens what teacher_model_name_or_path names; reads no weight of a model. Where every weight of the student trains its
// model cannot be the teacher's base: that is then opened once more. Error: it cannot be read; another vocabulary, or
// one in which a token is another text.
Result<TeacherFiles> open_teacher(const DistillConfig& config, const files::ModelFiles& student);

// The role, ready to run. `base` is the student's model, and must outlive the answer. Error: the adapter does not fit;
// as load_model.
Result<engine::Role> load_teacher(const DistillConfig& config, const engine::Context& context,
                                  const engine::Model& base, const TeacherFiles& files);

// What only the teacher is told; empty: nothing. Error: a file that cannot be read, or is empty.
Result<std::string> teacher_prompt_text(const DistillConfig& config);

}  // namespace candor::recipes
