#include "engine/head.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "engine/matrix_products.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

namespace {

// Rows that one task takes through the whole vocabulary: enough to share each load of the weights, few enough that both
// their hidden states and a block of logits stay in the cache.
constexpr int64_t kChunkRows = 96;

struct Chunk {
  int64_t begin, end;
};

std::vector<Chunk> chunks_of(int64_t rows, int threads) {
  const int64_t per_thread = (rows + threads - 1) / threads;
  const int64_t size = std::clamp<int64_t>(per_thread, 1, kChunkRows);
  std::vector<Chunk> chunks;
  for (int64_t begin = 0; begin < rows; begin += size) chunks.push_back({begin, std::min(rows, begin + size)});
  return chunks;
}

// Hidden states as the head reads them: as they are, or where its arithmetic asks for it, rounded.
struct HeadInput {
  Buffer hidden;         // [rows, padded(hidden)]
  Bf16Buffer rounded;    // the same, or empty
  ByteBuffer quantized;  // the same, or empty

  // Room for `rows` rows.
  HeadInput(const Context& context, const PackedMatrix& head, int64_t rows)
      : hidden(context.ledger, "head", "input", rows * padded(head.in)) {
    if (head.arithmetic() == Arithmetic::kBfloat16)
      rounded = Bf16Buffer(context.ledger, "head", "rounded", hidden.size());
    if (head.arithmetic() == Arithmetic::kInt8)
      quantized = ByteBuffer(context.ledger, "head", "quantized", rows * quantized_row_bytes(head.in));
  }

  // The rows that `rows` name.
  void gather(const Kernels& kernels, const PackedMatrix& head, const float* from, std::span<const HeadRow> rows) {
    const int64_t width = padded(head.in), row_bytes = quantized_row_bytes(head.in);
    const auto count = static_cast<int64_t>(rows.size());
    for (int64_t i = 0; i < count; ++i)
      std::copy_n(from + rows[i].hidden_row * width, width, hidden.data() + i * width);
    if (!rounded.empty()) kernels.round_bf16(hidden.data(), count * width, rounded.data());
    if (!quantized.empty())
      for (int64_t i = 0; i < count; ++i)
        kernels.quantize_row(hidden.data() + i * width, width, quantized.data() + i * row_bytes);
  }

  // From row `begin` on.
  MatrixInput from(const PackedMatrix& head, int64_t begin) const {
    const int64_t at = begin * padded(head.in);
    return {hidden.data() + at, rounded.empty() ? nullptr : rounded.data() + at,
            quantized.empty() ? nullptr : quantized.data() + begin * quantized_row_bytes(head.in)};
  }
};

// What one thread needs to take a chunk of rows through the vocabulary.
struct ForwardScratch {
  HeadInput input;
  Buffer logits;  // [rows, 512]

  ForwardScratch(const Context& context, const PackedMatrix& head, int64_t rows)
      : input(context, head, rows), logits(context.ledger, "head", "logits", rows * kVocabularyBlock) {}
};

std::vector<ForwardScratch> forward_scratch(const Context& context, const PackedMatrix& head,
                                            const std::vector<Chunk>& chunks) {
  std::vector<ForwardScratch> scratch;
  const auto threads = std::min(chunks.size(), static_cast<size_t>(context.pool.threads()));
  scratch.reserve(threads);
  for (size_t i = 0; i < threads; ++i) scratch.emplace_back(context, head, chunks.front().end - chunks.front().begin);
  return scratch;
}

// What the way back needs for all rows.
struct BackwardScratch {
  HeadInput input;
  Buffer logits;           // [rows, 512]
  DoubleBuffer gradients;  // d hidden [rows, padded(hidden)]

  BackwardScratch(const Context& context, const PackedMatrix& head, int64_t rows)
      : input(context, head, rows),
        logits(context.ledger, "head", "logits", rows * kVocabularyBlock),
        gradients(context.ledger, "head", "d hidden states", rows * padded(head.in)) {}
};

// logits [rows, 512] of input rows `begin` and on over the vocabulary block that starts at `first`; returns its true
// width.
int64_t block_logits(const Kernels& kernels, const PackedMatrix& head, const HeadInput& input, int64_t begin,
                     int64_t rows, int64_t first, float* logits) {
  const int64_t count = std::min(kVocabularyBlock, head.out - first);
  with_product(head, input.from(head, begin), rows, first / kPanel, padded(count) / kPanel, logits, kVocabularyBlock,
               [&](const auto& product) { run_matmul(kernels, product); });
  return count;
}

// The 16×16 block of W at a panel of outputs and the inputs from `column` on, as a product with dlogits reads it.
void transpose_head_block(const Kernels& kernels, const PackedMatrix& head, int64_t panel, int64_t column, float* to) {
  if (head.quantized()) return transpose_quantized(kernels, head.weights(), panel, column, to);
  kernels.transpose_block(head.data.data() + panel * head.panel_size() + column * kPanel, to);
}
void transpose_head_block(const Kernels& kernels, const PackedMatrix& head, int64_t panel, int64_t column,
                          uint16_t* to) {
  if (head.quantized()) return transpose_quantized(kernels, head.weights(), panel, column, to);
  kernels.bf16_transpose_block(head.pairs.data() + panel * head.panel_size() + column * kPanel, to);
}

// Panels of W's columns that are transposed at a time: whole register tiles, which stay in the second-level cache.
constexpr int64_t kColumnPanels = 3;

// product [rows, 48] = dlogits [rows, 512]·W of some panels of W's columns and this block of the vocabulary.
template <typename Number, typename Product>
void block_product(const Kernels& kernels, const PackedMatrix& head, const Number* dlogits, Product product,
                   int64_t first, int64_t column) {
  alignas(64) Number columns[kColumnPanels][kVocabularyBlock * kPanel];
  for (int64_t row = 0; row < product.depth; row += kPanel)
    for (int64_t p = 0; p < product.panels; ++p)
      transpose_head_block(kernels, head, (first + row) / kPanel, column + p * kPanel, columns[p] + row * kPanel);
  product.a = dlogits;
  product.a_row = kVocabularyBlock;
  product.b = columns[0];
  product.b_panel = kVocabularyBlock * kPanel;
  product.c_row = kColumnPanels * kPanel;
  run_matmul(kernels, product);
}

// dhidden [rows, in] += dlogits [rows, 512]·W of this block. At most kChunkRows rows.
// Blocks are added in double: tens of thousands of unlikely tokens pull every row the same way, each by less than half
// a unit of the likely ones' sum, so one float chain would lose them all (1e-3 of SmolLM2's gradients).
void block_input_gradient(const Kernels& kernels, const PackedMatrix& head, const float* dlogits, int64_t rows,
                          int64_t first, int64_t count, double* dhidden) {
  const int64_t depth = padded(count), width = padded(head.in);
  const bool whole = head.arithmetic() == Arithmetic::kFloat32;
  std::vector<uint16_t> rounded;
  if (!whole) {
    rounded.resize(static_cast<size_t>(rows * kVocabularyBlock));
    for (int64_t i = 0; i < rows; ++i)
      kernels.round_bf16(dlogits + i * kVocabularyBlock, depth, rounded.data() + i * kVocabularyBlock);
  }
  alignas(64) float product[kChunkRows * kColumnPanels * kPanel];
  for (int64_t column = 0, panels = 0; column < width; column += panels * kPanel) {
    panels = std::min(kColumnPanels, (width - column) / kPanel);
    const auto fill = [&](auto part) {
      part.c = product;
      part.rows = rows, part.panels = panels, part.depth = depth;
      return part;
    };
    if (whole)
      block_product(kernels, head, dlogits, fill(Matmul()), first, column);
    else
      block_product(kernels, head, rounded.data(), fill(Bf16Matmul()), first, column);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < panels * kPanel; ++j)
        dhidden[i * width + column + j] += static_cast<double>(product[i * kColumnPanels * kPanel + j]);
  }
}

}  // namespace

HeadOutput HeadOutput::slice(size_t first, size_t count) const {
  auto cut = [&](const auto& all) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    return std::decay_t<decltype(all)>(begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  return {cut(logprobs), cut(entropy), cut(log_sums), cut(argmax)};
}

void HeadOutput::append(const HeadOutput& more) {
  auto add = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  add(logprobs, more.logprobs);
  add(entropy, more.entropy);
  add(log_sums, more.log_sums);
  add(argmax, more.argmax);
}

RowStatistics finish(const HeadState& state) {
  const double log_sum = exact_log(state.sum);
  const double maximum = static_cast<double>(state.maximum);
  return {static_cast<float>(static_cast<double>(state.target) - maximum - log_sum),
          static_cast<float>(log_sum - state.weighted_sum / state.sum), maximum + log_sum, state.argmax};
}

RowStatistics row_statistics(const Kernels& kernels, const float* logits, int64_t vocabulary, float inverse_temperature,
                             int64_t target) {
  HeadState state = initial_head_state();
  for (int64_t first = 0; first < vocabulary; first += kVocabularyBlock)
    kernels.head_block(logits + first, std::min(kVocabularyBlock, vocabulary - first), first, inverse_temperature,
                       target, &state);
  return finish(state);
}

int64_t kept_rows(int64_t rows, int64_t vocabulary) {
  constexpr int64_t kMostFloats = int64_t{8} << 20;
  return std::min(rows, kMostFloats / kept_floats(1, vocabulary));
}

int64_t kept_floats(int64_t kept_rows, int64_t vocabulary) {
  return kept_rows * ((vocabulary + kVocabularyBlock - 1) / kVocabularyBlock * kVocabularyBlock);
}

HeadOutput head_forward(const Context& context, const PackedMatrix& head, const float* hidden,
                        std::span<const HeadRow> rows, double temperature, const std::optional<HeadAdapter>& adapter,
                        const KeptLogits& kept) {
  CHECK(temperature > 0);
  const auto inverse = static_cast<float>(1.0 / temperature);
  HeadOutput out;
  out.logprobs.resize(rows.size());
  out.entropy.resize(rows.size());
  out.log_sums.resize(rows.size());
  out.argmax.resize(rows.size());
  const auto chunks = chunks_of(static_cast<int64_t>(rows.size()), context.pool.threads());
  std::vector<ForwardScratch> scratch = forward_scratch(context, head, chunks);
  context.pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t c, int thread) {
    const Chunk chunk = chunks[c];
    const int64_t n = chunk.end - chunk.begin;
    auto& [input, logits] = scratch[chunks.size() == scratch.size() ? c : thread];
    input.gather(context.kernels, head, hidden, rows.subspan(chunk.begin, n));
    const std::vector<float> u =
        adapter ? adapter->down(context.kernels, input.hidden.data(), n) : std::vector<float>();
    std::vector<HeadState> states(n, initial_head_state());
    for (int64_t first = 0; first < head.out; first += kVocabularyBlock) {
      const bool keeps = kept.holds(chunk.end - 1);
      float* block = keeps ? kept.at(first, chunk.begin) : logits.data();
      const int64_t count = block_logits(context.kernels, head, input, 0, n, first, block);
      if (adapter) adapter->up(context.kernels, u.data(), n, first, padded(count) / kPanel, block, kVocabularyBlock);
      for (int64_t i = 0; i < n; ++i) {
        const float* of_row = block + i * kVocabularyBlock;
        context.kernels.head_block(of_row, count, first, inverse, rows[chunk.begin + i].target, &states[i]);
        if (!keeps && kept.holds(chunk.begin + i)) std::copy_n(of_row, count, kept.at(first, chunk.begin + i));
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const RowStatistics row = finish(states[i]);
      out.logprobs[chunk.begin + i] = row.logprob;
      out.entropy[chunk.begin + i] = row.entropy;
      out.log_sums[chunk.begin + i] = row.log_sum;
      out.argmax[chunk.begin + i] = row.argmax;
    }
  });
  return out;
}

void plan_head_forward(const Context& context, const PackedMatrix& head, int64_t rows) {
  CHECK(context.ledger.planned());
  forward_scratch(context, head, chunks_of(rows, context.pool.threads()));
}

void plan_head_backward(const Context& context, const PackedMatrix& head, int64_t rows) {
  CHECK(context.ledger.planned());
  BackwardScratch(context, head, rows);
}

void head_backward(const Context& context, const PackedMatrix& head, const float* hidden, std::span<const HeadRow> rows,
                   double temperature, const HeadOutput& forward, std::span<const float> dlogprob,
                   std::span<const float> dentropy, float* dhidden, float* dweight,
                   const std::optional<HeadAdapter>& adapter, const KeptLogits& kept) {
  const auto inverse = static_cast<float>(1.0 / temperature);
  const int64_t width = padded(head.in);
  std::vector<int64_t> live;
  std::vector<HeadRow> live_rows;
  for (size_t i = 0; i < rows.size(); ++i)
    if (dlogprob[i] != 0.0f || dentropy[i] != 0.0f) {
      live.push_back(static_cast<int64_t>(i));
      live_rows.push_back(rows[i]);
    }
  const auto count = static_cast<int64_t>(live.size());
  const auto chunks = chunks_of(count, context.pool.threads());
  BackwardScratch scratch(context, head, count);
  HeadInput& input = scratch.input;
  Buffer& logits = scratch.logits;
  DoubleBuffer& gradients = scratch.gradients;
  input.gather(context.kernels, head, hidden, live_rows);
  std::vector<float> u;
  if (adapter) u = adapter->down(context.kernels, input.hidden.data(), count);
  std::vector<double> du(u.size(), 0.0);
  // d logits of one chunk of rows over one vocabulary block, and their part of d hidden.
  auto backward_block = [&](const Chunk& chunk, int64_t first) {
    const int64_t n = chunk.end - chunk.begin;
    float* block = logits.data() + chunk.begin * kVocabularyBlock;
    const int64_t ids = std::min(kVocabularyBlock, head.out - first);
    const int64_t at_rank = adapter ? chunk.begin * adapter->rank() : 0;
    const int64_t known = std::count_if(live.begin() + chunk.begin, live.begin() + chunk.end,
                                        [&](int64_t row) { return kept.holds(row); });
    if (known < n) {  // rows are in order: the last ones are not kept
      float* rest = block + known * kVocabularyBlock;
      block_logits(context.kernels, head, input, chunk.begin + known, n - known, first, rest);
      if (adapter)
        adapter->up(context.kernels, u.data() + at_rank + known * adapter->rank(), n - known, first,
                    padded(ids) / kPanel, rest, kVocabularyBlock);
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = live[chunk.begin + i];
      float* of_row = block + i * kVocabularyBlock;
      if (i < known) std::copy_n(kept.at(first, row), ids, of_row);
      context.kernels.head_block_backward(of_row, ids, first, inverse, rows[row].target,
                                          {forward.log_sums[row], forward.entropy[row], dlogprob[row], dentropy[row]});
      std::fill(of_row + ids, of_row + padded(ids), 0.0f);
    }
    block_input_gradient(context.kernels, head, block, n, first, ids, gradients.data() + chunk.begin * width);
    if (adapter)
      adapter->block_backward(context.kernels, block, kVocabularyBlock, n, first, padded(ids), du.data() + at_rank);
  };
  const auto chunk_count = static_cast<int64_t>(chunks.size());
  if (dweight == nullptr && !adapter) {
    context.pool.run(chunk_count, [&](int64_t c, int) {
      for (int64_t first = 0; first < head.out; first += kVocabularyBlock) backward_block(chunks[c], first);
    });
  } else {
    // The gradients of the head and of its adapter add all rows of a block, so the blocks pass one after the other.
    for (int64_t first = 0; first < head.out; first += kVocabularyBlock) {
      context.pool.run(chunk_count, [&](int64_t c, int) { backward_block(chunks[c], first); });
      const int64_t ids = std::min(kVocabularyBlock, head.out - first);
      if (adapter) adapter->add_b_gradient(context, logits.data(), kVocabularyBlock, count, first, ids, u.data());
      if (dweight == nullptr) continue;
      const WeightGradient block{input.hidden.data(),    width, logits.data(), kVocabularyBlock, padded(ids) / kPanel,
                                 dweight + first * width};
      add_weight_gradients(context, {&block, 1}, count);
    }
  }
  if (adapter) {
    std::vector<float> through(static_cast<size_t>(count * width));
    adapter->finish_backward(context, du, input.hidden.data(), count, through.data());
    for (size_t i = 0; i < through.size(); ++i) gradients[i] += static_cast<double>(through[i]);
  }
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < width; ++j)
      dhidden[live_rows[i].hidden_row * width + j] += static_cast<float>(gradients[i * width + j]);
}

void head_logits(const Context& context, const PackedMatrix& head, const float* hidden, int64_t rows, float* logits,
                 const std::optional<HeadAdapter>& adapter) {
  std::vector<uint16_t> rounded;
  std::vector<uint8_t> quantized;
  if (head.arithmetic() == Arithmetic::kBfloat16) rounded.resize(static_cast<size_t>(rows * padded(head.in)));
  if (head.arithmetic() == Arithmetic::kInt8)
    quantized.resize(static_cast<size_t>(rows * quantized_row_bytes(head.in)));
  const ForwardProduct product{&head, logits};
  matrices_forward(context, {&product, 1}, hidden, rows, {rounded.data(), quantized.data()});
  if (!adapter) return;
  const std::vector<float> u = adapter->down(context.kernels, hidden, rows);
  const Matmul added = adapter->up_product(u.data(), rows, 0, head.panels(), logits, padded(head.out));
  run_matmuls(context.pool, context.kernels, {&added, 1});
}

}  // namespace candor::engine
