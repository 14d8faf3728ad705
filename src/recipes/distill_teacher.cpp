#include "recipes/distill_teacher.h"

#include "base/input_file.h"

namespace candor::recipes {

namespace {

Result<void> check_vocabulary(const files::ModelFiles& teacher, const files::ModelFiles& student) {
  constexpr const char* kOtherwise =
      "Whole distributions compare over one vocabulary only: take a teacher of the student's family, or train on text "
      "that the teacher writes (candor generate, then candor sft).";
  const int64_t theirs = teacher.config.vocab_size, ours = student.config.vocab_size;
  if (theirs != ours)
    return error("[distill] the teacher {} has a vocabulary of {} tokens, the student {} one of {}. {}",
                 teacher.path.string(), theirs, student.path.string(), ours, kOtherwise);
  if (!teacher.tokenizer || !student.tokenizer) return {};
  for (int64_t id = 0; id < ours; ++id) {
    const auto token = static_cast<int32_t>(id);
    const auto a = teacher.tokenizer->id_to_token(token), b = student.tokenizer->id_to_token(token);
    if (a != b)
      return error("[distill] token {} is {} to the teacher {} and {} to the student {}. {}", id,
                   quoted_text(a.value_or("")), teacher.path.string(), quoted_text(b.value_or("")),
                   student.path.string(), kOtherwise);
  }
  return {};
}

Result<files::ModelFiles> open_named(const std::string& name) {
  return files::open_model(TRY(files::resolve_model(name)));
}

}  // namespace

Result<TeacherFiles> open_teacher(const DistillConfig& config, const files::ModelFiles& student) {
  const std::string& name = config.teacher_model_name_or_path;
  TeacherFiles teacher;
  const bool adapter = !name.empty() && path_exists(std::filesystem::path(name) / "adapter_config.json");
  if (adapter) teacher.adapter = TRY(files::read_peft_adapter(name));
  if (!adapter && !name.empty())
    teacher.model = TRY(open_named(name));
  else if (!config.use_peft)
    teacher.model = TRY(open_named(config.model_name_or_path));
  if (teacher.model) TRY(check_vocabulary(*teacher.model, student));
  return teacher;
}

Result<engine::Role> load_teacher(const DistillConfig& config, const engine::Context& context,
                                  const engine::Model& base, const TeacherFiles& files) {
  if (files.model)
    return engine::role_of_model(context, "teacher", *files.model,
                                 TRY(engine::choose_dtype(config.teacher_dtype, "auto", *files.model, context.kernels)),
                                 files.adapter);
  if (files.adapter) return engine::role_from_peft(context, "teacher", base, *files.adapter);
  return engine::base_role(context, "teacher", base);
}

Result<std::string> teacher_prompt_text(const DistillConfig& config) {
  if (config.teacher_prompt_path.empty()) return config.teacher_prompt;
  constexpr size_t kMost = 1 << 20;
  std::string text = TRY(read_file(config.teacher_prompt_path, kMost));
  while (text.ends_with('\n')) text.pop_back();
  if (text.empty()) return error("[distill] teacher_prompt_path {}: the file is empty.", config.teacher_prompt_path);
  return text;
}

}  // namespace candor::recipes
