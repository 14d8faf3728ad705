#include "engine/head.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "engine/kernels/parallel.h"
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

void gather(const float* hidden, std::span<const HeadRow> rows, const Chunk& chunk, int64_t width, float* to) {
  for (int64_t i = chunk.begin; i < chunk.end; ++i, to += width)
    std::copy_n(hidden + rows[i].hidden_row * width, width, to);
}

// logits [rows, 512] of the vocabulary block that starts at `first`; returns its true width.
int64_t block_logits(const Kernels& kernels, const PackedMatrix& head, const float* hidden, int64_t rows, int64_t first,
                     float* logits) {
  const int64_t count = std::min(kVocabularyBlock, head.out - first);
  kernels.matmul({.a = hidden,
                  .a_row = padded(head.in),
                  .b = head.data.data() + first / kPanel * head.panel_size(),
                  .b_panel = head.panel_size(),
                  .c = logits,
                  .c_row = kVocabularyBlock,
                  .rows = rows,
                  .panels = padded(count) / kPanel,
                  .depth = padded(head.in)});
  return count;
}

// dhidden [rows, in] += dlogits [rows, 512]·W of this block, 16 columns of W at a time. At most kChunkRows rows.
// Blocks are added in double: tens of thousands of unlikely tokens pull every row the same way, each by less than half
// a unit of the likely ones' sum, so one float chain would lose them all (1e-3 of SmolLM2's gradients).
void block_input_gradient(const Kernels& kernels, const PackedMatrix& head, const float* dlogits, int64_t rows,
                          int64_t first, int64_t count, double* dhidden) {
  alignas(64) float panel[kVocabularyBlock * kPanel], product[kChunkRows * kPanel];
  const int64_t depth = padded(count);
  for (int64_t column = 0; column < padded(head.in); column += kPanel) {
    for (int64_t row = 0; row < depth; row += kPanel)
      kernels.transpose_block(head.data.data() + (first + row) / kPanel * head.panel_size() + column * kPanel,
                              panel + row * kPanel);
    kernels.matmul({.a = dlogits,
                    .a_row = kVocabularyBlock,
                    .b = panel,
                    .c = product,
                    .c_row = kPanel,
                    .rows = rows,
                    .panels = 1,
                    .depth = depth});
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < kPanel; ++j)
        dhidden[i * padded(head.in) + column + j] += static_cast<double>(product[i * kPanel + j]);
  }
}

}  // namespace

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

HeadOutput head_forward(const Context& context, const PackedMatrix& head, const float* hidden,
                        std::span<const HeadRow> rows, double temperature) {
  CHECK(temperature > 0);
  const auto inverse = static_cast<float>(1.0 / temperature);
  const int64_t width = padded(head.in);
  HeadOutput out;
  out.logprobs.resize(rows.size());
  out.entropy.resize(rows.size());
  out.log_sums.resize(rows.size());
  out.argmax.resize(rows.size());
  const auto chunks = chunks_of(static_cast<int64_t>(rows.size()), context.pool.threads());
  context.pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t c, int) {
    const Chunk chunk = chunks[c];
    const int64_t n = chunk.end - chunk.begin;
    std::vector<float> gathered(n * width), logits(n * kVocabularyBlock);
    gather(hidden, rows, chunk, width, gathered.data());
    std::vector<HeadState> states(n, initial_head_state());
    for (int64_t first = 0; first < head.out; first += kVocabularyBlock) {
      const int64_t count = block_logits(context.kernels, head, gathered.data(), n, first, logits.data());
      for (int64_t i = 0; i < n; ++i)
        context.kernels.head_block(logits.data() + i * kVocabularyBlock, count, first, inverse,
                                   rows[chunk.begin + i].target, &states[i]);
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

void head_backward(const Context& context, const PackedMatrix& head, const float* hidden, std::span<const HeadRow> rows,
                   double temperature, const HeadOutput& forward, std::span<const float> dlogprob,
                   std::span<const float> dentropy, float* dhidden, float* dweight) {
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
  std::vector<float> gathered(count * width), logits(count * kVocabularyBlock);
  std::vector<double> gradients(count * width, 0.0);
  gather(hidden, live_rows, {0, count}, width, gathered.data());
  // d logits of one chunk of rows over one vocabulary block, and their part of d hidden.
  auto backward_block = [&](const Chunk& chunk, int64_t first) {
    const int64_t n = chunk.end - chunk.begin;
    float* block = logits.data() + chunk.begin * kVocabularyBlock;
    const int64_t ids = block_logits(context.kernels, head, gathered.data() + chunk.begin * width, n, first, block);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = live[chunk.begin + i];
      float* of_row = block + i * kVocabularyBlock;
      context.kernels.head_block_backward(of_row, ids, first, inverse, rows[row].target,
                                          {forward.log_sums[row], forward.entropy[row], dlogprob[row], dentropy[row]});
      std::fill(of_row + ids, of_row + padded(ids), 0.0f);
    }
    block_input_gradient(context.kernels, head, block, n, first, ids, gradients.data() + chunk.begin * width);
  };
  const auto chunk_count = static_cast<int64_t>(chunks.size());
  if (dweight == nullptr) {
    context.pool.run(chunk_count, [&](int64_t c, int) {
      for (int64_t first = 0; first < head.out; first += kVocabularyBlock) backward_block(chunks[c], first);
    });
  } else {
    // The head's gradient adds all rows of a block, so the blocks pass one after the other.
    for (int64_t first = 0; first < head.out; first += kVocabularyBlock) {
      context.pool.run(chunk_count, [&](int64_t c, int) { backward_block(chunks[c], first); });
      const int64_t panels = padded(std::min(kVocabularyBlock, head.out - first)) / kPanel;
      const WeightGradient block{gathered.data(),  width,  logits.data(),
                                 kVocabularyBlock, panels, dweight + first * width};
      add_weight_gradients(context, {&block, 1}, count);
    }
  }
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < width; ++j)
      dhidden[live_rows[i].hidden_row * width + j] += static_cast<float>(gradients[i * width + j]);
}

void head_logits(const Context& context, const PackedMatrix& head, const float* hidden, int64_t rows, float* logits) {
  const Matmul product{.a = hidden,
                       .a_row = padded(head.in),
                       .b = head.data.data(),
                       .b_panel = head.panel_size(),
                       .c = logits,
                       .c_row = padded(head.out),
                       .rows = rows,
                       .panels = head.panels(),
                       .depth = padded(head.in)};
  run_matmuls(context.pool, context.kernels, {&product, 1});
}

}  // namespace candor::engine
