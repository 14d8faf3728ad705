#include "engine/embedding.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "engine/kernels/parallel.h"

namespace candor::engine {

namespace {

// The ranges that adapt the embedding.
template <typename Act>
void each_adapted(std::span<const AdapterRange> adapters, Act act) {
  for (const AdapterRange& range : adapters)
    if (range.adapter != nullptr && range.adapter->embedding_pair() != nullptr)
      act(range, *range.adapter, *range.adapter->embedding_pair());
}

// u [ids, u_row] = s·A[:, id] of the range's rows.
void look_up(const Context& context, const AdapterRange& range, const Adapter& adapter, const LoraPair& pair,
             std::span<const int32_t> ids, float* u, int64_t u_row) {
  const float* a = adapter.parameters.data() + pair.a_offset;
  for_rows(context.pool, range.end - range.begin, [&](int64_t i) {
    const int64_t row = range.begin + i;
    float* to = u + row * u_row;
    std::fill_n(to, padded(pair.rank), 0.0f);
    for (int64_t k = 0; k < pair.rank; ++k) to[k] = pair.scale * a[k * padded(pair.in) + ids[row]];
  });
}

// x of the range's rows += u·Bᵀ.
void add_product(const Context& context, const AdapterRange& range, const Adapter& adapter, const LoraPair& pair,
                 const float* u, int64_t u_row, float* x) {
  const int64_t width = padded(pair.out);
  const Matmul product{.a = u + range.begin * u_row,
                       .a_row = u_row,
                       .b = adapter.packed.data() + pair.b_packed,
                       .b_panel = padded(pair.rank) * kPanel,
                       .c = x + range.begin * width,
                       .c_row = width,
                       .rows = range.end - range.begin,
                       .panels = width / kPanel,
                       .depth = padded(pair.rank),
                       .accumulate = true};
  run_matmuls(context.pool, context.kernels, {&product, 1});
}

}  // namespace

void embed(const Context& context, const Model& model, std::span<const AdapterRange> adapters, const TokenBatch& batch,
           float* x, float* u, int64_t u_row) {
  const std::span<const int32_t> ids = batch.ids;
  const int64_t hidden = model.config.hidden_size, width = padded(hidden);
  for_rows(context.pool, batch.tokens(), [&](int64_t t) {
    CHECK(ids[t] >= 0 && ids[t] < model.config.vocab_size);
    float* row = x + t * width;
    embedding_of(model, adapter_of(adapters, t)).copy_row(ids[t], row);
    std::fill(row + hidden, row + width, 0.0f);
  });
  each_adapted(adapters, [&](const AdapterRange& range, const Adapter& adapter, const LoraPair& pair) {
    look_up(context, range, adapter, pair, ids, u, u_row);
    add_product(context, range, adapter, pair, u, u_row, x);
    if (!pair.dora()) return;
    const float* gain = adapter.packed.data() + pair.gain;
    for_rows(context.pool, range.end - range.begin, [&](int64_t i) {
      float* row = x + (range.begin + i) * width;
      for (int64_t k = 0; k < width; ++k) row[k] *= gain[k];
    });
  });
  if (!model.positions) return;
  for_rows(context.pool, batch.tokens(), [&](int64_t t) {
    CHECK(batch.positions[t] < model.positions->out);
    std::vector<float> position(static_cast<size_t>(hidden));
    model.positions->copy_row(batch.positions[t], position.data());
    context.kernels.add(position.data(), hidden, x + t * width);
  });
}

namespace {

// dm += Σ over the range's rows of dx·v/n, with v = W[t] + s·B·A[:, t], and dx becomes m/n ⊙ dx.
void through_magnitudes(const Context& context, const Model& model, const AdapterRange& range, const Adapter& adapter,
                        const LoraPair& pair, std::span<const int32_t> ids, const float* u, int64_t u_row, float* dx,
                        float* v) {
  const int64_t width = padded(pair.out);
  const float *gain = adapter.packed.data() + pair.gain, *norm = adapter.packed.data() + pair.norm;
  for_rows(context.pool, range.end - range.begin, [&](int64_t i) {
    float* row = v + (range.begin + i) * width;
    model.embedding.copy_row(ids[range.begin + i], row);
    std::fill(row + pair.out, row + width, 0.0f);
  });
  add_product(context, range, adapter, pair, u, u_row, v);
  float* dm = range.gradients + pair.magnitude_offset;
  context.pool.run(width / kPanel, [&](int64_t panel, int) {
    for (int64_t row = range.begin; row < range.end; ++row)
      for (int64_t k = panel * kPanel; k < (panel + 1) * kPanel; ++k) {
        float& at = dx[row * width + k];
        if (norm[k] > 0) dm[k] += at * v[row * width + k] / norm[k];
        at *= gain[k];
      }
  });
}

}  // namespace

void embed_backward(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
                    std::span<const int32_t> ids, float* dx, float* u, int64_t u_row, float* v) {
  each_adapted(adapters, [&](const AdapterRange& range, const Adapter& adapter, const LoraPair& pair) {
    if (range.gradients == nullptr) return;
    const int64_t width = padded(pair.out), rank = padded(pair.rank), rows = range.end - range.begin;
    float* du = u + static_cast<int64_t>(ids.size()) * u_row;
    look_up(context, range, adapter, pair, ids, u, u_row);
    if (pair.dora()) through_magnitudes(context, model, range, adapter, pair, ids, u, u_row, dx, v);
    const Matmul products[] = {{.a = dx + range.begin * width,  // du = dx·B
                                .a_row = width,
                                .b = adapter.parameters.data() + pair.b_offset,
                                .b_k = rank,
                                .b_panel = kPanel,
                                .c = du + range.begin * u_row,
                                .c_row = u_row,
                                .rows = rows,
                                .panels = rank / kPanel,
                                .depth = width},
                               {.a = dx + range.begin * width,  // dB += dxᵀ·u
                                .a_row = 1,
                                .a_k = width,
                                .b = u + range.begin * u_row,
                                .b_k = u_row,
                                .b_panel = kPanel,
                                .c = range.gradients + pair.b_offset,
                                .c_row = rank,
                                .rows = pair.out,
                                .panels = rank / kPanel,
                                .depth = rows,
                                .accumulate = true}};
    run_matmuls(context.pool, context.kernels, products);
    context.pool.run(pair.rank, [&](int64_t k, int) {
      float* da = range.gradients + pair.a_offset + k * padded(pair.in);
      for (int64_t row = range.begin; row < range.end; ++row) da[ids[row]] += pair.scale * du[row * u_row + k];
    });
  });
}

}  // namespace candor::engine
