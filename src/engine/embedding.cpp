#include "engine/embedding.h"

#include <algorithm>

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

}  // namespace

void embed(const Context& context, const Model& model, std::span<const AdapterRange> adapters,
           std::span<const int32_t> ids, float* x, float* u, int64_t u_row) {
  const int64_t width = padded(model.config.hidden_size);
  for_rows(context.pool, static_cast<int64_t>(ids.size()), [&](int64_t t) {
    CHECK(ids[t] >= 0 && ids[t] < model.config.vocab_size);
    embedding_of(model, adapter_of(adapters, t)).copy_row(ids[t], x + t * width);
  });
  each_adapted(adapters, [&](const AdapterRange& range, const Adapter& adapter, const LoraPair& pair) {
    look_up(context, range, adapter, pair, ids, u, u_row);
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
  });
}

void embed_backward(const Context& context, std::span<const AdapterRange> adapters, std::span<const int32_t> ids,
                    const float* dx, float* u, int64_t u_row) {
  each_adapted(adapters, [&](const AdapterRange& range, const Adapter& adapter, const LoraPair& pair) {
    if (range.gradients == nullptr) return;
    const int64_t width = padded(pair.out), rank = padded(pair.rank), rows = range.end - range.begin;
    float* du = u + static_cast<int64_t>(ids.size()) * u_row;
    look_up(context, range, adapter, pair, ids, u, u_row);
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
