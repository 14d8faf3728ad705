#include "recipes/training_state.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "files/json_file.h"

namespace candor::recipes {

files::TensorSource flat_tensor(const char* name, const engine::Buffer& buffer) {
  return {name, {buffer.size()}, [&buffer](int64_t begin, int64_t end, float* out) -> Result<void> {
            std::copy(buffer.data() + begin, buffer.data() + end, out);
            return {};
          }};
}

Result<void> read_flat_tensor(const files::SafetensorsFile& file, const char* name, engine::Buffer& to) {
  const files::TensorInfo* values = file.find(name);
  const int64_t size = values == nullptr ? 0 : values->elements();
  if (size != to.size())
    return error(
        "[resume] {}: \"{}\" has {} values, this run's optimizer {}: another model, or other lora_* keys. "
        "Resume with the recipe that began the run.",
        file.path().string(), name, size, to.size());
  return file.read_floats(*values, 0, size, to.data());
}

Result<void> save_checkpoint(const std::filesystem::path& run_directory, const TrainingState& state,
                             const std::string& recipe_yaml, std::vector<files::CheckpointFile> trained,
                             const engine::AdamwState& optimizer) {
  const files::Json trainer_state = {
      {"step", state.step},
      {"cursor", {{"epoch", state.cursor.epoch}, {"position", state.cursor.position}}},
      {"num_tokens", state.num_tokens},
      {"seconds", state.seconds},
      {"best_step", state.best_step},
      {"best_metric", state.best_metric},
      {"reward_mean", {{"mean", state.reward_mean.mean}, {"count", state.reward_mean.count}}},
      {"optimizer_steps", optimizer.steps},
      {"kernels", state.kernels},
      {"dtype", state.dtype},
      {"rows_sha256", state.rows_sha256},
  };
  std::vector<files::CheckpointFile> all = std::move(trained);
  all.push_back({"optimizer.safetensors", [&optimizer](OutputFile& out) {
                   return files::write_safetensors(
                       {flat_tensor("first_moments", optimizer.m), flat_tensor("second_moments", optimizer.v)},
                       files::FloatType::kFloat32, {}, out);
                 }});
  all.push_back(named_bytes("trainer_state.json", trainer_state.dump(1) + "\n"));
  all.push_back(named_bytes("recipe.yaml", recipe_yaml));
  TRY(files::write_checkpoint(run_directory, state.step, all));
  return {};
}

Result<void> save_checkpoint(const std::filesystem::path& run_directory, const TrainingState& state,
                             const std::string& recipe_yaml, const engine::Adapter& adapter,
                             const engine::AdamwState& optimizer, std::vector<files::CheckpointFile> more) {
  files::PeftFiles peft = files::encode_peft_adapter(engine::adapter_to_peft(adapter));
  more.push_back(named_bytes("adapter_config.json", std::move(peft.adapter_config_json)));
  more.push_back(named_bytes("adapter_model.safetensors", std::move(peft.adapter_model_safetensors)));
  return save_checkpoint(run_directory, state, recipe_yaml, std::move(more), optimizer);
}

Result<void> load_training_state(const files::Checkpoint& checkpoint, bool any_level, engine::AdamwState& optimizer,
                                 TrainingState& state) {
  TRY(files::verify_checkpoint(checkpoint.path));
  const std::filesystem::path state_path = checkpoint.path / "trainer_state.json";
  const files::Json json = TRY(files::read_json_file(state_path));
  try {
    const auto kernels = json.at("kernels").get<std::string>();
    if (kernels != state.kernels && !any_level)
      return error(
          "[resume] {}: written with the {} kernels, this run uses {}: the last bits would differ. Set "
          "CANDOR_CPU={} (where this processor has it) to go on exactly, or --resume_on_other_kernels true to go on "
          "all the same.",
          checkpoint.path.string(), kernels, state.kernels, kernels);
    const auto dtype = json.at("dtype").get<std::string>();
    if (dtype != state.dtype)
      return error(
          "[resume] {}: written in {}, this run is in {}: the result would be neither run's. Resume with the dtype and "
          "the model that the run began with, or start a new run with another output_dir.",
          checkpoint.path.string(), dtype, state.dtype);
    if (json.at("rows_sha256").get<std::string>() != state.rows_sha256)
      return error(
          "[resume] {}: the rows of dataset_name, or what the chat template makes of them, are not those that the "
          "run began with: the result would be neither run's. Give back the old file, or start a new run with "
          "another output_dir.",
          checkpoint.path.string());
    state.step = json.at("step").get<int64_t>();
    state.cursor.epoch = json.at("cursor").at("epoch").get<int64_t>();
    state.cursor.position = json.at("cursor").at("position").get<int64_t>();
    state.num_tokens = json.at("num_tokens").get<int64_t>();
    state.seconds = json.at("seconds").get<double>();
    state.best_step = json.at("best_step").get<int64_t>();
    state.best_metric = json.at("best_metric").get<double>();
    state.reward_mean = {json.at("reward_mean").at("mean").get<double>(),
                         json.at("reward_mean").at("count").get<double>()};
    optimizer.steps = json.at("optimizer_steps").get<int64_t>();
  } catch (const files::Json::exception& e) {
    return error("[resume] {}: {}. The checkpoint was not written by this version of the program.", state_path.string(),
                 e.what());
  }
  const files::SafetensorsFile file = TRY(files::SafetensorsFile::open(checkpoint.path / "optimizer.safetensors"));
  TRY(read_flat_tensor(file, "first_moments", optimizer.m));
  return read_flat_tensor(file, "second_moments", optimizer.v);
}

Result<void> load_checkpoint(const engine::Context& context, const engine::Model& model,
                             const files::Checkpoint& checkpoint, bool any_level, engine::Adapter& adapter,
                             engine::AdamwState& optimizer, TrainingState& state) {
  TRY(load_training_state(checkpoint, any_level, optimizer, state));
  const files::PeftAdapter saved = TRY(files::read_peft_adapter(checkpoint.path));
  adapter = TRY(engine::adapter_from_peft(context, model, saved));
  TRY(engine::check_base(model, saved));
  return {};
}

}  // namespace candor::recipes
