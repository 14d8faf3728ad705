#include "engine/adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "engine/dora.h"

namespace candor::engine {

namespace {

// Lays out the pairs: offsets in the flat buffers, the index by layer and linear.
void lay_out(const Context& context, const Model& model, Adapter& adapter) {
  std::array<int32_t, kLinears> none;
  none.fill(-1);
  adapter.index.assign(model.layers.size(), none);
  int64_t parameters = 0, packed = 0;
  auto take = [](int64_t& used, int64_t size) { return std::exchange(used, used + size); };
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    LoraPair& pair = adapter.pairs[i];
    pair.a_offset = take(parameters, pair.a_size());
    pair.b_offset = take(parameters, pair.b_size());
    pair.a_packed = take(packed, pair.a_size());
    pair.b_packed = take(packed, pair.b_size());
    adapter.trainable += pair.rank * (pair.in + pair.out);
    if (adapter.config.use_dora) {
      pair.magnitude_offset = take(parameters, padded(pair.out));
      pair.gain = take(packed, padded(pair.out));
      pair.norm = take(packed, padded(pair.out));
      pair.base_squares = take(packed, padded(pair.out));
      adapter.trainable += pair.out;
    }
    adapter.max_padded_rank = std::max(adapter.max_padded_rank, padded(pair.rank));
    adapter.index[pair.layer][static_cast<int>(pair.linear)] = static_cast<int32_t>(i);
  }
  adapter.parameters = Buffer(context.ledger, "adapter", "parameters", parameters);
  adapter.packed = Buffer(context.ledger, "adapter", "packed", packed);
  for (const LoraPair& pair : adapter.pairs)
    if (pair.dora()) row_squares(context, *pair.base, adapter.packed.data() + pair.base_squares);
}

Result<LoraPair> make_pair(const Model& model, const files::LoraConfig& config, int64_t layer, Linear linear) {
  const PackedMatrix& w = model.layers[layer][linear];
  LoraPair pair;
  pair.module = module_path(layer, linear);
  const files::PairSettings settings = TRY(files::pair_settings(config, pair.module));
  pair.layer = layer;
  pair.linear = linear;
  pair.rank = settings.rank;
  pair.scale = static_cast<float>(settings.scale);
  pair.base = &w;
  pair.in = w.in;
  pair.out = w.out;
  return pair;
}

// The weights that modules_to_save may name.
struct Saveable {
  const char* module;
  std::optional<PackedMatrix> SavedModules::*place;
};
constexpr Saveable kSaveable[] = {{"model.embed_tokens", &SavedModules::embedding}, {"lm_head", &SavedModules::head}};

std::string weight_name(const Saveable& saveable) {
  return fmt::format("{}.weight", saveable.module);
}

// row(i, to) writes row i of the copy.
template <typename Row>
void save_module(const Context& context, const Model& model, const Saveable& saveable, Adapter& adapter, Row row) {
  const int64_t out = model.config.vocab_size, in = model.config.hidden_size;
  PackedMatrix copy;
  copy.out = out, copy.in = in;
  copy.data = Buffer(context.ledger, "adapter", weight_name(saveable), padded(out) * padded(in));
  context.pool.run(copy.panels(), [&](int64_t panel, int) {
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

// Copies of the base's weights that modules_to_save names.
Result<void> save_modules_of_base(const Context& context, const Model& model, Adapter& adapter) {
  for (const std::string& name : adapter.config.modules_to_save) {
    files::LoraConfig one;
    one.modules_to_save = {name};
    const auto* found = std::find_if(std::begin(kSaveable), std::end(kSaveable),
                                     [&](const Saveable& s) { return files::is_saved_module(one, s.module); });
    if (found == std::end(kSaveable))
      return error(
          "[adapter] modules_to_save names \"{}\": only lm_head and embed_tokens can be trained whole beside an "
          "adapter. Leave it out, or train all weights (full fine-tuning).",
          name);
    const PackedMatrix& base = found->place == &SavedModules::head ? model.head_matrix() : model.embedding;
    save_module(context, model, *found, adapter, [&](int64_t row, float* to) { base.copy_row(row, to); });
  }
  return {};
}

// The copies that were saved.
Result<void> read_saved_modules(const Context& context, const Model& model, const files::PeftAdapter& saved,
                                Adapter& adapter) {
  const files::ModelConfig& c = model.config;
  for (const files::FloatTensor& tensor : saved.saved_weights) {
    const auto* found = std::find_if(std::begin(kSaveable), std::end(kSaveable),
                                     [&](const Saveable& s) { return tensor.name == weight_name(s); });
    if (found == std::end(kSaveable))
      return error(
          "[adapter] the adapter holds a trained copy of {} (modules_to_save); only copies of lm_head and "
          "embed_tokens are supported.",
          tensor.name);
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
  for (const Saveable& saveable : kSaveable)
    if (files::is_saved_module(saved.config, saveable.module) && !(adapter.saved.*saveable.place))
      return error("[adapter] adapter_config.json saves {} (modules_to_save), but the adapter holds no copy of it.",
                   saveable.module);
  return {};
}

// Transposes factor·(a row-major matrix [rows][columns], both padded) into panels of its rows: [rows/16][columns][16].
void pack_panels(const float* from, int64_t rows, int64_t columns, float factor, float* to) {
  for (int64_t row = 0; row < rows; ++row) {
    float* panel = to + row / kPanel * columns * kPanel + row % kPanel;
    for (int64_t k = 0; k < columns; ++k) panel[k * kPanel] = factor * from[row * columns + k];
  }
}

// The first values of A and B, element by element.
Result<void> draw_pair(files::LoraInit init, const LoraPair& pair, const RngKey& key, float* parameters) {
  float *a = parameters + pair.a_offset, *b = parameters + pair.b_offset;
  auto uniform = [](const RngKey& of, int64_t i, double bound) {
    return static_cast<float>((2.0 * random_uniform(of, static_cast<uint64_t>(i)) - 1.0) * bound);
  };
  const double a_bound = 1.0 / std::sqrt(static_cast<double>(pair.in));
  for (int64_t row = 0; row < pair.rank; ++row)
    for (int64_t k = 0; k < pair.in; ++k) {
      const int64_t i = row * pair.in + k;
      a[row * padded(pair.in) + k] =
          init == files::LoraInit::kGaussian
              ? static_cast<float>(random_normal(key, static_cast<uint64_t>(i)) / static_cast<double>(pair.rank))
              : uniform(key, i, a_bound);
    }
  if (init != files::LoraInit::kRandom) return {};
  RngKey of_b = key;
  of_b.step = 1;
  for (int64_t row = 0; row < pair.out; ++row)
    for (int64_t k = 0; k < pair.rank; ++k)
      b[row * padded(pair.rank) + k] =
          uniform(of_b, row * pair.rank + k, 1.0 / std::sqrt(static_cast<double>(pair.rank)));
  return {};
}

}  // namespace

Result<Adapter> make_adapter(const Context& context, const Model& model, const files::LoraConfig& config,
                             uint64_t seed) {
  Adapter adapter;
  adapter.config = config;
  adapter.config.base_fingerprint = model.fingerprint;
  const bool all_linear = config.target_modules == std::vector<std::string>{"all-linear"};  // never head or embedding
  for (const char* outside : {"lm_head", "model.embed_tokens"})
    if (!all_linear && TRY(files::target_matches(config, outside)))
      return error(
          "[adapter] target_modules names {}: adapters on the embedding or the head are not supported yet. "
          "Leave it out of lora_target_modules.",
          outside);
  for (int64_t layer = 0; layer < model.config.layers; ++layer)
    for (int i = 0; i < kLinears; ++i)
      if (TRY(files::target_matches(config, module_path(layer, static_cast<Linear>(i)))))
        adapter.pairs.push_back(TRY(make_pair(model, config, layer, static_cast<Linear>(i))));
  if (adapter.pairs.empty())
    return error(
        "[adapter] lora_target_modules matches no linear layer of this model. Its layers are called {} and so "
        "on; \"all-linear\" takes them all.",
        module_path(0, Linear::kQ));
  lay_out(context, model, adapter);
  TRY(save_modules_of_base(context, model, adapter));
  for (size_t i = 0; i < adapter.pairs.size(); ++i)
    TRY(draw_pair(config.init, adapter.pairs[i], {seed, RngStream::kInitialisation, 0, static_cast<uint32_t>(i)},
                  adapter.parameters.data()));
  pack_adapter(context, adapter);  // the norms, with which DoRA's magnitudes begin
  for (const LoraPair& pair : adapter.pairs)
    if (pair.dora())
      std::copy_n(adapter.packed.data() + pair.norm, pair.out, adapter.parameters.data() + pair.magnitude_offset);
  if (config.use_dora) pack_adapter(context, adapter);
  return adapter;
}

Result<Adapter> adapter_from_peft(const Context& context, const Model& model, const files::PeftAdapter& saved) {
  if (saved.config.init == files::LoraInit::kPissa)
    return error(
        "[adapter] init_lora_weights is \"pissa\", which is not supported yet: such an adapter belongs to changed base "
        "weights. Convert it to plain LoRA with PEFT first.");
  Adapter adapter;
  adapter.config = saved.config;
  std::map<std::string, const files::LoraTensors*> by_module;
  for (const files::LoraTensors& tensors : saved.pairs) by_module[tensors.module] = &tensors;
  std::vector<const files::LoraTensors*> found;
  for (int64_t layer = 0; layer < model.config.layers; ++layer)
    for (int i = 0; i < kLinears; ++i) {
      const auto linear = static_cast<Linear>(i);
      const auto it = by_module.find(module_path(layer, linear));
      if (it == by_module.end()) {
        if (TRY(files::target_matches(saved.config, module_path(layer, linear))))
          return error(
              "[adapter] adapter_config.json targets {}, but the adapter holds no tensors for it: the file is "
              "incomplete, or was made for a model with fewer layers.",
              module_path(layer, linear));
        continue;
      }
      const files::LoraTensors& tensors = *it->second;
      const PackedMatrix& w = model.layers[layer][linear];
      const bool right_rank = tensors.rank == TRY(files::pair_settings(saved.config, tensors.module))
      .rank;
      CHECK(right_rank && tensors.magnitude.empty() != saved.config.use_dora);  // read_peft_adapter says so
      if (tensors.in != w.in || tensors.out != w.out)
        return error(
            "[adapter] {}: the adapter was made for a layer of {} inputs and {} outputs, this model's has {} and "
            "{}: it belongs to another base model.",
            tensors.module, tensors.in, tensors.out, w.in, w.out);
      adapter.pairs.push_back(TRY(make_pair(model, saved.config, layer, linear)));
      found.push_back(&tensors);
      by_module.erase(it);
    }
  if (!by_module.empty())
    return error(
        "[adapter] the adapter changes {}, which this model does not have: it belongs to another base model, or "
        "adapts a layer that is not supported yet.",
        by_module.begin()->first);
  if (adapter.pairs.empty()) return error("[adapter] the adapter has no tensors.");
  lay_out(context, model, adapter);
  TRY(read_saved_modules(context, model, saved, adapter));
  for (size_t i = 0; i < found.size(); ++i) {
    const LoraPair& pair = adapter.pairs[i];
    float* a = adapter.parameters.data() + pair.a_offset;
    float* b = adapter.parameters.data() + pair.b_offset;
    for (int64_t row = 0; row < pair.rank; ++row)
      std::copy_n(found[i]->a.data() + row * pair.in, pair.in, a + row * padded(pair.in));
    for (int64_t row = 0; row < pair.out; ++row)
      std::copy_n(found[i]->b.data() + row * pair.rank, pair.rank, b + row * padded(pair.rank));
    if (pair.dora())
      std::copy_n(found[i]->magnitude.data(), pair.out, adapter.parameters.data() + pair.magnitude_offset);
    for (const std::vector<float>* values : {&found[i]->a, &found[i]->b, &found[i]->magnitude})
      for (float value : *values)
        if (!std::isfinite(value))
          return error(
              "[adapter] {}: a weight is not finite ({}): the file is damaged, or the training that wrote it "
              "diverged.",
              found[i]->module, value);
  }
  pack_adapter(context, adapter);
  return adapter;
}

Result<void> check_base(const Model& model, const files::PeftAdapter& saved) {
  if (saved.config.base_fingerprint.empty() || saved.config.base_fingerprint == model.fingerprint) return {};
  return error(
      "[adapter] the adapter was trained on other weights: another base model, or this one in another precision (a "
      "quantized file, say).");
}

files::PeftAdapter adapter_to_peft(const Adapter& adapter) {
  files::PeftAdapter saved;
  saved.config = adapter.config;
  for (const LoraPair& pair : adapter.pairs) {
    files::LoraTensors tensors;
    tensors.module = pair.module;
    tensors.rank = pair.rank;
    tensors.in = pair.in;
    tensors.out = pair.out;
    const float* a = adapter.parameters.data() + pair.a_offset;
    const float* b = adapter.parameters.data() + pair.b_offset;
    for (int64_t row = 0; row < pair.rank; ++row)
      tensors.a.insert(tensors.a.end(), a + row * padded(pair.in), a + row * padded(pair.in) + pair.in);
    for (int64_t row = 0; row < pair.out; ++row)
      tensors.b.insert(tensors.b.end(), b + row * padded(pair.rank), b + row * padded(pair.rank) + pair.rank);
    if (pair.dora()) {
      const float* m = adapter.parameters.data() + pair.magnitude_offset;
      tensors.magnitude.assign(m, m + pair.out);
    }
    saved.pairs.push_back(std::move(tensors));
  }
  for (const Saveable& saveable : kSaveable) {
    const std::optional<PackedMatrix>& copy = adapter.saved.*saveable.place;
    if (!copy) continue;
    std::vector<float> values(static_cast<size_t>(copy->out * copy->in));
    for (int64_t row = 0; row < copy->out; ++row) copy->copy_row(row, values.data() + row * copy->in);
    saved.saved_weights.push_back({weight_name(saveable), {copy->out, copy->in}, std::move(values)});
  }
  return saved;
}

void pack_adapter(const Context& context, Adapter& adapter) {
  context.pool.run(static_cast<int64_t>(adapter.pairs.size()), [&](int64_t i, int) {
    const LoraPair& pair = adapter.pairs[i];
    const float* p = adapter.parameters.data();
    float* packed = adapter.packed.data();
    pack_panels(p + pair.a_offset, padded(pair.rank), padded(pair.in), pair.scale, packed + pair.a_packed);
    pack_panels(p + pair.b_offset, padded(pair.out), padded(pair.rank), 1.0f, packed + pair.b_packed);
    if (!pair.dora()) return;
    float *gain = packed + pair.gain, *norm = packed + pair.norm;
    adapted_row_norms(context.kernels, pair, p, packed + pair.base_squares, norm);
    for (int64_t row = 0; row < pair.out; ++row)
      gain[row] = norm[row] > 0 ? p[pair.magnitude_offset + row] / norm[row] : 0.0f;
  });
}

}  // namespace candor::engine
