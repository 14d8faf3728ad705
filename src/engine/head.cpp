#include "engine/head.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"
#include "engine/head_blocks.h"
#include "engine/matrix_products.h"

namespace candor::engine {

namespace {

// What one thread needs to take a chunk of rows through the vocabulary.
struct ForwardScratch {
  HeadInput input;
  Buffer logits;  // [rows, 512]

  ForwardScratch(const Context& context, const PackedMatrix& head, int64_t rows)
      : input(context, head, rows), logits(context.ledger, "head", "logits", rows * kVocabularyBlock) {}
};

std::vector<ForwardScratch> forward_scratch(const Context& context, const PackedMatrix& head,
                                            const std::vector<HeadChunk>& chunks) {
  std::vector<ForwardScratch> scratch;
  const auto threads = std::min(chunks.size(), static_cast<size_t>(context.pool.threads()));
  scratch.reserve(threads);
  for (size_t i = 0; i < threads; ++i) scratch.emplace_back(context, head, chunks.front().end - chunks.front().begin);
  return scratch;
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
  const auto chunks = head_chunks(static_cast<int64_t>(rows.size()), context.pool.threads());
  std::vector<ForwardScratch> scratch = forward_scratch(context, head, chunks);
  context.pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t c, int thread) {
    const HeadChunk chunk = chunks[c];
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
  forward_scratch(context, head, head_chunks(rows, context.pool.threads()));
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
