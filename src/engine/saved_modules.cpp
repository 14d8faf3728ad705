// Whole weights beside an adapter, PEFT's modules_to_save (adapter_parts.h).
#include <algorithm>
#include <array>

#include "engine/adapter_parts.h"

namespace candor::engine {

namespace {

// The weights that modules_to_save may name.
struct Saveable {
  std::string_view module;
  std::optional<PackedMatrix> SavedModules::*place;
};
std::array<Saveable, 2> saveable_of(std::string_view embedding_module) {
  return {{{embedding_module, &SavedModules::embedding}, {files::kHeadModule, &SavedModules::head}}};
}

std::string weight_name(const Saveable& saveable) {
  return fmt::format("{}.weight", saveable.module);
}

// "embed_tokens"
std::string_view last_part(std::string_view module) {
  return module.substr(module.rfind('.') + 1);
}

// row(i, to) writes row i of the copy.
template <typename Row>
void save_module(const Context& context, const Model& model, const Saveable& saveable, Adapter& adapter, Row row) {
  const int64_t out = model.config.vocab_size, in = model.config.hidden_size;
  PackedMatrix copy;
  copy.out = out, copy.in = in;
  copy.data = Buffer(context.ledger, "adapter", weight_name(saveable), padded(out) * padded(in));
  const int64_t filled = context.ledger.planned() ? 0 : copy.panels();
  context.pool.run(filled, [&](int64_t panel, int) {
    std::vector<float> values(static_cast<size_t>(in));
    float* to = copy.data.data() + panel * copy.panel_size();
    for (int64_t lane = 0; lane < std::min(kPanel, out - panel * kPanel); ++lane) {
      row(panel * kPanel + lane, values.data());
      for (int64_t k = 0; k < in; ++k) to[k * kPanel + lane] = values[k];
    }
  });
  adapter.saved.*saveable.place = std::move(copy);
  adapter.trainable += out * in;
}

}  // namespace

Result<void> save_modules_of_base(const Context& context, const Model& model, Adapter& adapter) {
  const auto saveable = saveable_of(adapter.embedding_module);
  for (const std::string& name : adapter.config.modules_to_save) {
    files::LoraConfig one;
    one.modules_to_save = {name};
    const auto* found = std::find_if(saveable.begin(), saveable.end(),
                                     [&](const Saveable& s) { return files::is_saved_module(one, s.module); });
    if (found == saveable.end())
      return error(
          "[adapter] modules_to_save names \"{}\": only lm_head and {} can be trained whole beside an adapter. Leave "
          "it out, or train all weights (full fine-tuning).",
          name, last_part(adapter.embedding_module));
    const PackedMatrix& base = found->place == &SavedModules::head ? model.head_matrix() : model.embedding;
    save_module(context, model, *found, adapter, [&](int64_t row, float* to) { base.copy_row(row, to); });
  }
  return {};
}

Result<void> read_saved_modules(const Context& context, const Model& model, const files::PeftAdapter& saved,
                                Adapter& adapter) {
  const files::ModelConfig& c = model.config;
  const auto all = saveable_of(adapter.embedding_module);
  for (const files::FloatTensor& tensor : saved.saved_weights) {
    const auto* found =
        std::find_if(all.begin(), all.end(), [&](const Saveable& s) { return tensor.name == weight_name(s); });
    if (found == all.end())
      return error(
          "[adapter] the adapter holds a trained copy of {} (modules_to_save); only copies of lm_head and {} are "
          "supported.",
          tensor.name, last_part(adapter.embedding_module));
    if (tensor.shape != std::vector<int64_t>{c.vocab_size, c.hidden_size})
      return error(
          "[adapter] the adapter's copy of {} has the shape [{}], this model's has [{}, {}]: it belongs to another "
          "base "
          "model.",
          tensor.name, fmt::join(tensor.shape, ", "), c.vocab_size, c.hidden_size);
    save_module(context, model, *found, adapter, [&](int64_t row, float* to) {
      std::copy_n(tensor.values.data() + row * c.hidden_size, c.hidden_size, to);
    });
  }
  for (const Saveable& saveable : all)
    if (files::is_saved_module(saved.config, saveable.module) && !(adapter.saved.*saveable.place))
      return error("[adapter] adapter_config.json saves {} (modules_to_save), but the adapter holds no copy of it.",
                   saveable.module);
  return {};
}

void write_saved_modules(const Adapter& adapter, files::PeftAdapter& saved) {
  for (const Saveable& saveable : saveable_of(adapter.embedding_module)) {
    const std::optional<PackedMatrix>& copy = adapter.saved.*saveable.place;
    if (!copy) continue;
    std::vector<float> values(static_cast<size_t>(copy->out * copy->in));
    for (int64_t row = 0; row < copy->out; ++row) copy->copy_row(row, values.data() + row * copy->in);
    saved.saved_weights.push_back({weight_name(saveable), {copy->out, copy->in}, std::move(values)});
  }
}

}  // namespace candor::engine
