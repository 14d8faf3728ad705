// The way back through the head, for every number that the head gives (HeadDerivatives).
#include <algorithm>

#include "base/check.h"
#include "engine/head_blocks.h"
#include "engine/head_divergence.h"
#include "engine/weight_gradients.h"

namespace candor::engine {

namespace {

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

// The coefficient of row i in a list that may be empty.
float at(std::span<const float> coefficients, size_t i) {
  return coefficients.empty() ? 0.0f : coefficients[i];
}

// One row and one vocabulary block: logits -> d loss / d logits in place.
struct RowGradient {
  const Kernels& kernels;
  std::span<const HeadRow> rows;
  double temperature;
  int64_t vocabulary;
  const HeadOutput& forward;
  const HeadDerivatives& d;

  // other: the other head's logits, where the row has a divergence.
  void operator()(int64_t row, int64_t first, int64_t ids, float* logits, const float* other) const {
    const float of_divergence = at(d.divergence, row), of_mean = at(d.mean_logprob, row);
    const float of_logprob = at(d.logprob, row), of_entropy = at(d.entropy, row);
    const auto inverse = static_cast<float>(1.0 / temperature);
    alignas(64) float diverging[kVocabularyBlock];
    if (of_divergence != 0.0f) d.diverged->gradient(kernels, row, of_divergence, logits, other, ids, diverging);
    if (of_logprob != 0.0f || of_mean != 0.0f || of_entropy != 0.0f)
      // The mean over the vocabulary falls by p like a log-probability and rises by 1/V everywhere, not at one token.
      kernels.head_block_backward(logits, ids, first, inverse, rows[row].target,
                                  {forward.log_sums[row], forward.entropy[row], of_logprob + of_mean, of_entropy});
    else
      std::fill_n(logits, ids, 0.0f);
    if (of_mean != 0.0f) {
      const float share = of_mean * inverse / static_cast<float>(vocabulary);
      for (int64_t j = 0; j < ids; ++j) logits[j] += share;
      const int64_t target = rows[row].target - first;
      if (target >= 0 && target < ids) logits[target] -= of_mean * inverse;
    }
    if (of_divergence != 0.0f)
      for (int64_t j = 0; j < ids; ++j) logits[j] += diverging[j];
  }
};

}  // namespace

void plan_head_backward(const Context& context, const PackedMatrix& head, int64_t rows, const PackedMatrix* other) {
  CHECK(context.ledger.planned());
  const BackwardScratch scratch(context, head, rows);
  if (other != nullptr) ViewLogits(context, *other, rows, kOtherHead);
}

void head_backward(const Context& context, const PackedMatrix& head, const float* hidden, std::span<const HeadRow> rows,
                   double temperature, const HeadOutput& forward, const HeadDerivatives& d, float* dhidden,
                   float* dweight, const std::optional<HeadAdapter>& adapter, const KeptLogits& kept) {
  CHECK(d.divergence.empty() || (d.other != nullptr && d.diverged != nullptr));
  const int64_t width = padded(head.in);
  std::vector<int64_t> live;
  std::vector<HeadRow> live_rows, other_rows;
  for (size_t i = 0; i < rows.size(); ++i)
    if (at(d.logprob, i) != 0.0f || at(d.entropy, i) != 0.0f || at(d.mean_logprob, i) != 0.0f ||
        at(d.divergence, i) != 0.0f) {
      live.push_back(static_cast<int64_t>(i));
      live_rows.push_back(rows[i]);
      if (d.other != nullptr) other_rows.push_back(d.other->rows[i]);
    }
  const auto count = static_cast<int64_t>(live.size());
  const auto chunks = head_chunks(count, context.pool.threads());
  BackwardScratch scratch(context, head, count);
  HeadInput& input = scratch.input;
  Buffer& logits = scratch.logits;
  DoubleBuffer& gradients = scratch.gradients;
  input.gather(context.kernels, head, hidden, live_rows);
  std::vector<float> u;
  if (adapter) u = adapter->down(context.kernels, input.hidden.data(), count);
  std::vector<double> du(u.size(), 0.0);
  std::optional<ViewLogits> other;
  if (d.other != nullptr) {
    other.emplace(context, *d.other->head, count, kOtherHead);
    other->gather(context.kernels, *d.other, other_rows);
  }
  const RowGradient row_gradient{context.kernels, rows, temperature, head.out, forward, d};
  // d logits of one chunk of rows over one vocabulary block, and their part of d hidden.
  auto backward_block = [&](const HeadChunk& chunk, int64_t first) {
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
    const float* others = other ? other->block(context.kernels, *d.other, chunk.begin, n, first) : nullptr;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = live[chunk.begin + i];
      float* of_row = block + i * kVocabularyBlock;
      if (i < known) std::copy_n(kept.at(first, row), ids, of_row);
      row_gradient(row, first, ids, of_row, others == nullptr ? nullptr : others + i * kVocabularyBlock);
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

}  // namespace candor::engine
