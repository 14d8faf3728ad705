#include "engine/adapter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/rng.h"
#include "engine/adapter_parts.h"
#include "engine/dora.h"

namespace candor::engine {

std::vector<LoraPair> adaptable_pairs(const Model& model) {
  std::vector<LoraPair> pairs;
  auto add = [&](Site site, std::string module, const PackedMatrix& base) -> LoraPair& {
    LoraPair& pair = pairs.emplace_back();
    pair.site = site;
    pair.module = std::move(module);
    pair.base = &base;
    pair.in = site == Site::kEmbedding ? base.out : base.in;
    pair.out = site == Site::kEmbedding ? base.in : base.out;
    return pair;
  };
  for (int64_t layer = 0; layer < model.config.layers; ++layer)
    for (const Linear linear : linears_of(model.config)) {
      LoraPair& pair = add(Site::kLinear, module_path(model.config, layer, linear), model.layers[layer][linear]);
      pair.layer = layer;
      pair.linear = linear;
    }
  add(Site::kEmbedding, std::string(files::module_names(model.config).embedding), model.embedding);
  if (model.config.labels == 0) add(Site::kHead, files::kHeadModule, model.head_matrix());
  return pairs;
}

Result<void> settle_pair(const files::LoraConfig& config, LoraPair& pair) {
  const files::PairSettings settings = TRY(files::pair_settings(config, pair.module));
  pair.rank = config.frozen_half ? settings.rank / 2 : settings.rank;
  pair.start_rank = settings.rank - pair.rank;
  pair.scale = static_cast<float>(settings.scale);
  if (config.use_dora && config.frozen_half)
    return error("[adapter] {}: DoRA together with PiSSA is not supported.", pair.module);
  if (pair.site == Site::kHead && config.use_dora)
    return error("[adapter] DoRA on {} is not supported. Leave it out of lora_target_modules.", pair.module);
  if (pair.site != Site::kLinear && config.frozen_half)
    return error("[adapter] PiSSA on {} is not supported. Leave it out of lora_target_modules.", pair.module);
  return {};
}

void lay_out(const Context& context, const Model& model, Adapter& adapter) {
  std::array<int32_t, kLinears> none;
  none.fill(-1);
  adapter.index.assign(model.layers.size(), none);
  adapter.embedding_module = files::module_names(model.config).embedding;
  adapter.config.fan_in_fan_out = model.config.transposed;
  int64_t parameters = 0, start = 0, packed = 0;
  auto take = [](int64_t& used, int64_t size) { return std::exchange(used, used + size); };
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    LoraPair& pair = adapter.pairs[i];
    pair.a_offset = take(parameters, pair.a_size());
    pair.b_offset = take(parameters, pair.b_size());
    if (pair.start_rank > 0) {
      pair.start_a = take(start, pair.a_size());
      pair.start_b = take(start, pair.b_size());
    }
    if (pair.site != Site::kEmbedding) pair.a_packed = take(packed, pair.all_ranks() * padded(pair.in));
    pair.b_packed = take(packed, padded(pair.out) * pair.all_ranks());
    adapter.trainable += pair.rank * (pair.in + pair.out);
    if (adapter.config.use_dora) {
      pair.magnitude_offset = take(parameters, padded(pair.out));
      pair.gain = take(packed, padded(pair.out));
      pair.norm = take(packed, padded(pair.out));
      pair.base_squares = take(packed, padded(pair.out));
      adapter.trainable += pair.out;
    }
    adapter.max_padded_rank = std::max(adapter.max_padded_rank, pair.all_ranks());
    const auto number = static_cast<int32_t>(i);
    if (pair.site == Site::kLinear)
      adapter.index[pair.layer][static_cast<int>(pair.linear)] = number;
    else
      (pair.site == Site::kEmbedding ? adapter.embedding_index : adapter.head_index) = number;
  }
  adapter.parameters = Buffer(context.ledger, "adapter", "parameters", parameters);
  if (start > 0) adapter.start = Buffer(context.ledger, "adapter", "start", start);
  adapter.packed = Buffer(context.ledger, "adapter", "packed", packed);
  if (context.ledger.planned()) return;
  for (const LoraPair& pair : adapter.pairs)
    if (pair.dora()) base_squares(context, pair, adapter.packed.data() + pair.base_squares);
}

void put_rows(const float* from, int64_t rows, int64_t columns, int64_t from_row, float* to) {
  for (int64_t row = 0; row < rows; ++row) std::copy_n(from + row * from_row, columns, to + row * padded(columns));
}

void take_rows(const float* from, int64_t rows, int64_t columns, float* to, int64_t to_row) {
  for (int64_t row = 0; row < rows; ++row) std::copy_n(from + row * padded(columns), columns, to + row * to_row);
}

files::PissaStart pissa_start(const LoraPair& pair, int64_t rank) {
  std::vector<float> w(static_cast<size_t>(pair.out * pair.in));
  for (int64_t row = 0; row < pair.out; ++row) pair.base->copy_row(row, w.data() + row * pair.in);
  return files::pissa_start(w, pair.out, pair.in, rank, static_cast<double>(pair.scale));
}

namespace {

// Transposes factor·(a row-major matrix [rows][columns], both padded) into panels of its rows, [rows/16][depth][16], in
// which its columns begin at `first`.
void pack_panels(const float* from, int64_t rows, int64_t columns, float factor, float* to, int64_t depth,
                 int64_t first = 0) {
  for (int64_t row = 0; row < rows; ++row) {
    float* panel = to + row / kPanel * depth * kPanel + first * kPanel + row % kPanel;
    for (int64_t k = 0; k < columns; ++k) panel[k * kPanel] = factor * from[row * columns + k];
  }
}

// The first values of A and B, element by element.
void draw_pair(files::LoraInit init, const LoraPair& pair, const RngKey& key, float* parameters) {
  float *a = parameters + pair.a_offset, *b = parameters + pair.b_offset;
  auto uniform = [](const RngKey& of, int64_t i, double bound) {
    return static_cast<float>((2.0 * random_uniform(of, static_cast<uint64_t>(i)) - 1.0) * bound);
  };
  if (pair.site == Site::kEmbedding) {  // PEFT's: A zero, B normal
    for (int64_t row = 0; row < pair.out; ++row)
      for (int64_t k = 0; k < pair.rank; ++k)
        b[row * padded(pair.rank) + k] =
            static_cast<float>(random_normal(key, static_cast<uint64_t>(row * pair.rank + k)));
    return;
  }
  const double a_bound = 1.0 / std::sqrt(static_cast<double>(pair.in));
  for (int64_t row = 0; row < pair.rank; ++row)
    for (int64_t k = 0; k < pair.in; ++k) {
      const int64_t i = row * pair.in + k;
      a[row * padded(pair.in) + k] =
          init == files::LoraInit::kGaussian
              ? static_cast<float>(random_normal(key, static_cast<uint64_t>(i)) / static_cast<double>(pair.rank))
              : uniform(key, i, a_bound);
    }
  if (init != files::LoraInit::kRandom) return;
  RngKey of_b = key;
  of_b.step = 1;
  for (int64_t row = 0; row < pair.out; ++row)
    for (int64_t k = 0; k < pair.rank; ++k)
      b[row * padded(pair.rank) + k] =
          uniform(of_b, row * pair.rank + k, 1.0 / std::sqrt(static_cast<double>(pair.rank)));
}

// PiSSA: A and B begin as the principal factors of W, which `start` takes off again. A task for each pair.
void start_from_factors(const Context& context, Adapter& adapter) {
  context.pool.run(static_cast<int64_t>(adapter.pairs.size()), [&](int64_t i, int) {
    const LoraPair& pair = adapter.pairs[i];
    const files::PissaStart start = pissa_start(pair, pair.rank);
    put_rows(start.a.data(), pair.rank, pair.in, pair.in, adapter.start.data() + pair.start_a);
    put_rows(start.b.data(), pair.out, pair.rank, pair.rank, adapter.start.data() + pair.start_b);
    std::copy_n(adapter.start.data() + pair.start_a, pair.a_size(), adapter.parameters.data() + pair.a_offset);
    for (int64_t k = 0; k < pair.b_size(); ++k)
      adapter.parameters[pair.b_offset + k] = -adapter.start[pair.start_b + k];
  });
}

}  // namespace

Result<Adapter> make_adapter(const Context& context, const Model& model, const files::LoraConfig& config,
                             uint64_t seed) {
  Adapter adapter;
  const bool pissa = config.init == files::LoraInit::kPissa;
  if (pissa && config.use_dora)
    return error("[adapter] init_lora_weights pissa together with use_dora is not supported. Remove one.");
  adapter.config = pissa ? files::doubled_ranks(config) : config;
  adapter.config.base_fingerprint = model.fingerprint;
  for (LoraPair& pair : adaptable_pairs(model)) {
    if (!TRY(files::target_matches(config, pair.module))) continue;
    TRY(settle_pair(adapter.config, pair));
    adapter.pairs.push_back(std::move(pair));
  }
  if (adapter.pairs.empty())
    return error(
        "[adapter] lora_target_modules matches no linear layer of this model. Its layers are called {} and so "
        "on; \"all-linear\" takes them all.",
        module_path(model.config, 0, linears_of(model.config).front()));
  lay_out(context, model, adapter);
  TRY(save_modules_of_base(context, model, adapter));
  if (context.ledger.planned()) return adapter;
  if (pissa) start_from_factors(context, adapter);
  for (size_t i = 0; i < adapter.pairs.size() && !pissa; ++i)
    draw_pair(config.init, adapter.pairs[i], {seed, RngStream::kInitialisation, 0, static_cast<uint32_t>(i)},
              adapter.parameters.data());
  pack_adapter(context, adapter);  // the norms, with which DoRA's magnitudes begin
  for (const LoraPair& pair : adapter.pairs)
    if (pair.dora())
      std::copy_n(adapter.packed.data() + pair.norm, pair.out, adapter.parameters.data() + pair.magnitude_offset);
  if (config.use_dora) pack_adapter(context, adapter);
  return adapter;
}

void pack_adapter(const Context& context, Adapter& adapter) {
  context.pool.run(static_cast<int64_t>(adapter.pairs.size()), [&](int64_t i, int) {
    const LoraPair& pair = adapter.pairs[i];
    const int64_t rank = padded(pair.rank), in = padded(pair.in), out = padded(pair.out), depth = pair.all_ranks();
    const float *p = adapter.parameters.data(), *start = adapter.start.data();
    float *packed = adapter.packed.data(), *a = packed + pair.a_packed, *b = packed + pair.b_packed;
    if (pair.site != Site::kEmbedding) pack_panels(p + pair.a_offset, rank, in, pair.scale, a, in);
    pack_panels(p + pair.b_offset, out, rank, 1.0f, b, depth);
    if (pair.start_rank > 0) {
      pack_panels(start + pair.start_a, rank, in, pair.scale, a + rank * in, in);
      pack_panels(start + pair.start_b, out, rank, 1.0f, b, depth, rank);
    }
    if (!pair.dora()) return;
    float *gain = packed + pair.gain, *norm = packed + pair.norm;
    adapted_row_norms(context.kernels, pair, p, packed + pair.base_squares, norm);
    for (int64_t row = 0; row < pair.out; ++row)
      gain[row] = norm[row] > 0 ? p[pair.magnitude_offset + row] / norm[row] : 0.0f;
  });
}

}  // namespace candor::engine
