#include "engine/linear.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "engine/dora.h"
#include "engine/kernels/parallel.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

const Adapter* adapter_of(std::span<const AdapterRange> adapters, int64_t row) {
  const auto after = std::partition_point(adapters.begin(), adapters.end(),
                                          [&](const AdapterRange& range) { return range.end <= row; });
  return after != adapters.end() && after->begin <= row ? after->adapter : nullptr;
}

namespace {

// What a range's adapter does to one of the calls.
struct Adapted {
  const AdapterRange* range;
  size_t call;
  const LoraPair* pair;
  const float* packed(int64_t offset) const { return range->adapter->packed.data() + offset; }
  const float* parameters(int64_t offset) const { return range->adapter->parameters.data() + offset; }
  const float* start(int64_t offset) const { return range->adapter->start.data() + offset; }
  float* gradients(int64_t offset) const { return range->gradients + offset; }
  int64_t rows() const { return range->end - range->begin; }
};

// By range, then by call.
template <typename Call>
std::vector<Adapted> adapted_calls(std::span<const AdapterRange> adapters, std::span<const Call> calls) {
  std::vector<Adapted> all;
  for (const AdapterRange& range : adapters)
    for (size_t i = 0; i < calls.size() && range.adapter != nullptr; ++i)
      if (const LoraPair* pair = range.adapter->find(calls[i].layer, calls[i].linear)) all.push_back({&range, i, pair});
  return all;
}

// The mask of what A reads, where there is one.
std::optional<DropoutMask> mask_of(const Adapted& a, const Dropout* dropout) {
  const double probability = a.range->adapter->config.dropout;
  if (dropout == nullptr || probability == 0) return std::nullopt;
  return DropoutMask{*dropout, probability, static_cast<uint32_t>(a.pair - a.range->adapter->pairs.data())};
}

// y += B·u.
Matmul from_rank(const Adapted& a, const float* u, int64_t u_row, float* y) {
  const int64_t out = padded(a.pair->out), rank = a.pair->all_ranks();
  return {.a = u + a.range->begin * u_row,
          .a_row = u_row,
          .b = a.packed(a.pair->b_packed),
          .b_panel = rank * kPanel,
          .c = y + a.range->begin * out,
          .c_row = out,
          .rows = a.rows(),
          .panels = out / kPanel,
          .depth = rank,
          .accumulate = true};
}

// dx += du·A: of the trained ranks, then of the start's behind them.
std::vector<Matmul> to_input(const Adapted& a, const float* du, int64_t u_row, float* dx) {
  const int64_t in = padded(a.pair->in), rank = padded(a.pair->rank);
  std::vector<Matmul> products = {{.a = du,
                                   .a_row = u_row,
                                   .b = a.parameters(a.pair->a_offset),
                                   .b_k = in,
                                   .b_panel = kPanel,
                                   .c = dx + a.range->begin * in,
                                   .c_row = in,
                                   .rows = a.rows(),
                                   .panels = in / kPanel,
                                   .depth = rank,
                                   .accumulate = true}};
  if (a.pair->start_rank > 0) {
    products.push_back(products.front());
    products.back().a += rank;
    products.back().b = a.start(a.pair->start_a);
  }
  return products;
}

// y = m/n ⊙ y of the rows with DoRA, then the biases.
std::vector<Finish> finishes_of(std::span<const Adapted> adapted, std::span<const LinearCall> calls, int64_t rows) {
  std::vector<Finish> finishes;
  for (const Adapted& a : adapted)
    if (float* y = calls[a.call].y; y != nullptr && a.pair->dora())
      finishes.push_back({.of = y, .row = a.range->begin, .rows = a.rows(), .gain = a.packed(a.pair->gain)});
  for (const LinearCall& call : calls)
    if (call.y != nullptr && !call.weight->bias.empty())
      finishes.push_back({.of = call.y, .rows = rows, .bias = call.weight->bias.data()});
  return finishes;
}

}  // namespace

void linears_forward(const Context& context, std::span<const AdapterRange> adapters, std::span<const LinearCall> calls,
                     const float* x, int64_t rows, int64_t u_row, const RoundedScratch& rounded,
                     const Dropout* dropout) {
  std::vector<ForwardProduct> base;
  for (const LinearCall& call : calls)
    if (call.y != nullptr) base.push_back({call.weight, call.y});
  const std::vector<Adapted> adapted = adapted_calls(adapters, calls);
  Beside beside;
  for (const Adapted& a : adapted) {
    const LinearCall& call = calls[a.call];
    const int64_t in = padded(a.pair->in);
    Matmul to_rank{.a = x + a.range->begin * in,
                   .a_row = in,
                   .b = a.packed(a.pair->a_packed),
                   .b_panel = in * kPanel,
                   .c = call.u + a.range->begin * u_row,
                   .c_row = u_row,
                   .rows = a.rows(),
                   .panels = a.pair->all_ranks() / kPanel,
                   .depth = in};
    if (const auto mask = mask_of(a, dropout)) {  // one after the other through the one scratch
      mask->apply(context, a.range->begin, a.range->end, in, x, dropout->scratch);
      Matmul trained = to_rank;
      trained.a = dropout->scratch + a.range->begin * in;
      trained.panels = padded(a.pair->rank) / kPanel;
      run_matmuls(context.pool, context.kernels, {&trained, 1});
      // PiSSA's start belongs to the base, and sees all of x.
      to_rank.b += padded(a.pair->rank) * in;
      to_rank.c += padded(a.pair->rank);
      to_rank.panels -= trained.panels;
    }
    if (to_rank.panels > 0) beside.before.add(to_rank);
    if (call.y != nullptr) beside.followers.push_back({call.y, a.range->begin, from_rank(a, call.u, u_row, call.y)});
  }
  beside.finishes = finishes_of(adapted, calls, rows);
  matrices_forward(context, base, x, rows, rounded, std::move(beside));
}

namespace {

// W x + s·B(A x) of the calls with DoRA whose y the caller has not kept, in their space for m/n ⊙ dy.
void compute_again(const Context& context, std::span<const Adapted> dora, std::span<const LinearBackward> calls,
                   const float* x, int64_t rows, int64_t u_row, const RoundedScratch& rounded) {
  std::vector<ForwardProduct> base;
  Beside beside;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].y != nullptr || std::none_of(dora.begin(), dora.end(), [&](auto& a) { return a.call == i; })) continue;
    base.push_back({calls[i].weight, calls[i].scaled});
    for (const Adapted& a : dora)
      if (a.call == i)
        beside.followers.push_back({calls[i].scaled, a.range->begin, from_rank(a, calls[i].u, u_row, calls[i].scaled)});
  }
  if (!base.empty()) matrices_forward(context, base, x, rows, rounded, std::move(beside));
}

// dm += Σ over the range's rows of dy·v/n, with v = W x + s·B(A x) computed from x, where m is 0: the forward's y says
// nothing of v there.
void add_gradient_of_zeros(const Context& context, const Adapted& a, const LinearBackward& call, const float* x,
                           int64_t u_row) {
  const LoraPair& pair = *a.pair;
  const int64_t in = padded(pair.in), rank = padded(pair.rank);
  const float *norm = a.packed(pair.norm), *m = a.parameters(pair.magnitude_offset);
  std::vector<float> row(static_cast<size_t>(in));
  for (int64_t j = 0; j < pair.out; ++j) {
    if (m[j] != 0 || norm[j] == 0) continue;
    call.weight->copy_row(j, row.data());
    float& dm = *a.gradients(pair.magnitude_offset + j);
    for (int64_t t = a.range->begin; t < a.range->end; ++t) {
      const float v = context.kernels.dot(row.data(), x + t * in, in) +
                      context.kernels.dot(a.parameters(pair.b_offset) + j * rank, call.u + t * u_row, rank);
      dm += call.dy[t * padded(pair.out) + j] * v / norm[j];
    }
  }
}

constexpr int64_t kColumns = 1024;

// dm += Σ over the range's rows of dy·v/n, and scaled = m/n ⊙ dy, of the columns [first, first + count). Where the
// forward's y is given, v/n is (y − b)/m.
void dora_columns(const Kernels& kernels, const Adapted& a, const LinearBackward& call, int64_t first, int64_t count) {
  const LoraPair& pair = *a.pair;
  const int64_t out = padded(pair.out);
  const bool again = call.y == nullptr;
  const float *gain = a.packed(pair.gain) + first, *norm = a.packed(pair.norm) + first,
              *divisor = again ? norm : a.parameters(pair.magnitude_offset) + first,
              *bias = again || call.weight->bias.empty() ? nullptr : call.weight->bias.data() + first,
              *v = again ? call.scaled : call.y;
  float* dm = a.range->gradients == nullptr ? nullptr : a.gradients(pair.magnitude_offset) + first;
  float sums[kColumns] = {}, inverse[kColumns] = {};
  for (int64_t j = 0; j < count; ++j) {
    inverse[j] = divisor[j] != 0 && norm[j] > 0 ? 1.0f / divisor[j] : 0.0f;
    if (dm != nullptr) sums[j] = dm[j];
  }
  const int64_t at = a.range->begin * out + first;
  kernels.magnitude_backward({.dy = call.dy + at,
                              .y = v + at,
                              .beside = call.beside == nullptr ? nullptr : call.beside + at,
                              .bias = bias,
                              .inverse = inverse,
                              .gain = gain,
                              .rows = a.rows(),
                              .stride = out,
                              .n = count,
                              .sums = sums,
                              .scaled = call.scaled + at});
  if (dm != nullptr) std::copy_n(sums, count, dm);
}

// What the products with W, A and B see as each call's dy: with DoRA in some row, m/n ⊙ dy of such rows.
std::vector<const float*> through_magnitudes(const Context& context, std::span<const Adapted> adapted,
                                             std::span<const LinearBackward> calls, const float* x, int64_t rows,
                                             int64_t u_row, const RoundedScratch& rounded) {
  struct Columns {
    size_t call;
    int64_t first, count;
  };
  std::vector<const float*> dy;
  std::vector<Adapted> dora;
  for (const Adapted& a : adapted)
    if (a.pair->dora()) dora.push_back(a);
  // Few columns of many rows would wait for memory: a thread takes as many as it can.
  std::vector<Columns> columns;
  for (size_t i = 0; i < calls.size(); ++i) {
    dy.push_back(calls[i].dy);
    if (std::none_of(dora.begin(), dora.end(), [&](const Adapted& a) { return a.call == i; })) continue;
    dy.back() = calls[i].scaled;
    const int64_t panels = calls[i].weight->panels(),
                  chunks = std::max<int64_t>(context.pool.threads(), (panels * kPanel + kColumns - 1) / kColumns);
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t first = panels * c / chunks, end = panels * (c + 1) / chunks;
      if (first < end) columns.push_back({i, first * kPanel, (end - first) * kPanel});
    }
  }
  if (dora.empty()) return dy;
  for (const Adapted& a : dora)
    if (a.range->gradients != nullptr && calls[a.call].y != nullptr)
      add_gradient_of_zeros(context, a, calls[a.call], x, u_row);
  compute_again(context, dora, calls, x, rows, u_row, rounded);
  context.pool.run(static_cast<int64_t>(columns.size()), [&](int64_t i, int) {
    const Columns& c = columns[i];
    for (const Adapted& a : dora)  // in the order of the rows
      if (a.call == c.call) dora_columns(context.kernels, a, calls[c.call], c.first, c.count);
  });
  for (size_t i = 0; i < calls.size(); ++i) {
    int64_t covered = 0;
    for (const Adapted& a : dora) covered += a.call == i ? a.rows() : 0;
    if (covered == 0 || covered == rows) continue;
    const int64_t out = padded(calls[i].weight->out);
    for_rows(context.pool, rows, [&](int64_t row) {
      if (std::none_of(dora.begin(), dora.end(),
                       [&](const Adapted& a) { return a.call == i && a.range->begin <= row && row < a.range->end; }))
        std::copy_n(calls[i].dy + row * out, out, calls[i].scaled + row * out);
    });
  }
  return dy;
}

}  // namespace

void linears_backward(const Context& context, std::span<const AdapterRange> adapters,
                      std::span<const LinearBackward> calls, const float* x, int64_t rows, float* dx, float* du,
                      int64_t u_row, const RoundedScratch& rounded, const Dropout* dropout) {
  std::vector<WeightGradient> whole;
  for (const LinearBackward& call : calls) {
    const PackedMatrix& w = *call.weight;
    if (call.dweight != nullptr) whole.push_back({x, padded(w.in), call.dy, padded(w.out), w.panels(), call.dweight});
    if (call.dbias != nullptr) add_bias_gradient(context, call.dy, rows, padded(w.out), call.dbias);
  }
  const std::vector<Adapted> adapted = adapted_calls(adapters, calls);
  const std::vector<const float*> dy = through_magnitudes(context, adapted, calls, x, rows, u_row, rounded);

  std::vector<InputGradient> base;
  for (size_t i = 0; i < calls.size(); ++i) base.push_back({calls[i].weight, dy[i]});
  Matmuls first;  // what reads dy
  if (dx != nullptr) round_gradients(base, rows, rounded, first);
  std::vector<Matmul> to_rank, to_start;  // du of the trained ranks, and of the start's behind them
  for (const Adapted& a : adapted) {
    const int64_t rank = padded(a.pair->rank), out = padded(a.pair->out);
    to_rank.push_back({.a = dy[a.call] + a.range->begin * out,
                       .a_row = out,
                       .b = a.parameters(a.pair->b_offset),
                       .b_k = rank,
                       .b_panel = kPanel,
                       .c = du + (static_cast<int64_t>(a.call) * rows + a.range->begin) * u_row,
                       .c_row = u_row,
                       .rows = a.rows(),
                       .panels = rank / kPanel,
                       .depth = out});
    if (a.pair->scale != 1.0f)
      first.finishes.push_back({.of = to_rank.back().c, .rows = a.rows(), .factor = a.pair->scale});
    if (a.pair->start_rank == 0) continue;
    to_start.push_back(to_rank.back());
    to_start.back().b = a.start(a.pair->start_b);
    to_start.back().c += rank;
    if (a.pair->scale != 1.0f)
      first.finishes.push_back({.of = to_start.back().c, .rows = a.rows(), .factor = a.pair->scale});
  }
  first.float32 = to_rank;
  first.float32.insert(first.float32.end(), to_start.begin(), to_start.end());
  run_matmuls(context.pool, context.kernels, first);
  // Range after range: two may have the same adapter, and its gradients add up in row order.
  for (size_t i = 0; i < adapted.size();) {
    std::vector<Matmul> weights;
    for (const AdapterRange* range = adapted[i].range; i < adapted.size() && adapted[i].range == range; ++i) {
      const Adapted& a = adapted[i];
      if (range->gradients == nullptr) continue;
      const int64_t rank = padded(a.pair->rank), in = padded(a.pair->in), out = padded(a.pair->out);
      weights.push_back({.a = dy[a.call] + range->begin * out,
                         .a_row = 1,
                         .a_k = out,
                         .b = calls[a.call].u + range->begin * u_row,
                         .b_k = u_row,
                         .b_panel = kPanel,
                         .c = a.gradients(a.pair->b_offset),
                         .c_row = rank,
                         .rows = a.pair->out,
                         .panels = rank / kPanel,
                         .depth = a.rows(),
                         .accumulate = true});
      weights.push_back({.a = to_rank[i].c,
                         .a_row = 1,
                         .a_k = u_row,
                         .b = x + range->begin * in,
                         .b_k = in,
                         .b_panel = kPanel,
                         .c = a.gradients(a.pair->a_offset),
                         .c_row = in,
                         .rows = a.pair->rank,
                         .panels = in / kPanel,
                         .depth = a.rows(),
                         .accumulate = true});
      if (const auto mask = mask_of(a, dropout)) {
        mask->apply(context, range->begin, range->end, in, x, dropout->scratch);
        weights.back().b = dropout->scratch + range->begin * in;
        run_matmuls(context.pool, context.kernels, {&weights.back(), 1});
        weights.pop_back();
      }
    }
    run_matmuls(context.pool, context.kernels, weights);
  }
  add_weight_gradients(context, whole, rows);
  if (dx == nullptr) return;

  std::vector<Follower> followers;
  for (size_t i = 0; i < adapted.size(); ++i)
    if (!mask_of(adapted[i], dropout))
      for (const Matmul& product : to_input(adapted[i], to_rank[i].c, u_row, dx))
        followers.push_back({dx, adapted[i].range->begin, product});
  matrices_input_gradient(context, base, rows, dx, rounded, followers);
  // One after the other through the one scratch.
  for (size_t i = 0; i < adapted.size(); ++i) {
    const Adapted& a = adapted[i];
    const auto mask = mask_of(a, dropout);
    if (!mask) continue;
    std::vector<Matmul> products = to_input(a, to_rank[i].c, u_row, dx);  // the start's is not dropped
    Matmul& trained = products.front();
    trained.c = dropout->scratch + (trained.c - dx);
    trained.accumulate = false;
    for (const Matmul& product : products) run_matmuls(context.pool, context.kernels, {&product, 1});
    mask->add(context, a.range->begin, a.range->end, padded(a.pair->in), dropout->scratch, dx);
  }
}

}  // namespace candor::engine
