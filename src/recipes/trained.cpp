#include "recipes/trained.h"

#include "engine/model_weights.h"
#include "files/model_writer.h"
#include "files/peft_adapter.h"
#include "recipes/training_run.h"

namespace candor::recipes {

Result<Trained> first_trained(const TrainingConfig& config, const engine::Context& context, engine::Model& model,
                              const files::ModelFiles& files) {
  Trained trained{&model, &files, nullptr};
  if (config.use_peft) {
    trained.adapter = std::make_unique<engine::Adapter>(TRY(first_adapter(config, context, model)));
    return trained;
  }
  TRY(engine::add_master_weights(context, files, model));
  TRY(engine::check_full_training(model));
  return trained;
}

Result<std::vector<NamedContent>> trained_files(const Trained& trained, files::FloatType type) {
  if (!trained.adapter) {
    const auto weights = std::make_shared<engine::ModelWeights>(*trained.model);
    auto files = TRY(files::model_directory_files(*trained.files, files::weight_sources(*weights), {.type = type}));
    for (NamedContent& file : files)
      file.content = [weights, write = std::move(file.content)](OutputFile& out) { return write(out); };
    return files;
  }
  files::PeftFiles peft = files::encode_peft_adapter(engine::adapter_to_peft(*trained.adapter));
  std::vector<NamedContent> files;
  files.push_back(named_bytes("adapter_config.json", std::move(peft.adapter_config_json)));
  files.push_back(named_bytes("adapter_model.safetensors", std::move(peft.adapter_model_safetensors)));
  return files;
}

Result<void> read_trained(const engine::Context& context, const std::filesystem::path& folder, Trained& trained) {
  if (trained.adapter) {
    *trained.adapter = TRY(engine::adapter_from_peft(context, *trained.model, TRY(files::read_peft_adapter(folder))));
    return {};
  }
  const files::ModelFiles saved = TRY(files::open_model(folder));
  const engine::Dtype dtype = trained.model->dtype;
  *trained.model = engine::Model();  // so that the memory never holds both
  *trained.model = TRY(engine::load_model(context, saved, dtype));
  return engine::add_master_weights(context, saved, *trained.model);
}

}  // namespace candor::recipes
