#include "engine/head_divergence.h"

#include "base/check.h"
#include "base/math.h"
#include "engine/head_blocks.h"
#include "engine/kernels/divergence.h"

namespace candor::engine {

namespace {

// What each thread needs to take a chunk of a view's rows through the vocabulary.
std::vector<ViewLogits> scratch_of(const Context& context, const PackedMatrix& head,
                                   const std::vector<HeadChunk>& chunks, const std::string& whose) {
  std::vector<ViewLogits> scratch;
  const auto threads = std::min(chunks.size(), static_cast<size_t>(context.pool.threads()));
  scratch.reserve(threads);
  for (size_t i = 0; i < threads; ++i) scratch.emplace_back(context, head, chunks.front().rows(), whose);
  return scratch;
}

// A chunk's logits over a block: [rows, 512], as the forward has kept them, or computed again.
const float* logits_of(const Kernels& kernels, const HeadView& view, const HeadChunk& chunk, int64_t first,
                       ViewLogits& scratch) {
  if (view.kept.holds(chunk.end - 1)) return view.kept.at(first, chunk.begin);
  return scratch.block(kernels, view, 0, chunk.rows(), first);
}

DivergentRow divergent_row(const Divergence& d, size_t row) {
  return {d.log_sums[row], d.other_log_sums[row], static_cast<float>(1.0 / d.temperature), d.beta};
}

}  // namespace

void Divergence::gradient(const Kernels& kernels, int64_t row, float coefficient, const float* first,
                          const float* other, int64_t n, float* out) const {
  const auto i = static_cast<size_t>(row);
  divergence_block_gradient(kernels, divergent_row(*this, i), of_first[i], coefficient, first, other, n, out);
}

Divergence head_divergence(const Context& context, const HeadView& first, const HeadView& other, double beta) {
  CHECK(first.rows.size() == other.rows.size() && first.head->out == other.head->out);
  CHECK(first.temperature == other.temperature && beta >= 0 && beta <= 1);
  Divergence out{beta, first.temperature, {}, {}, {}, {}};
  out.values.resize(first.rows.size());
  out.of_first.resize(first.rows.size());
  out.log_sums.assign(first.log_sums.begin(), first.log_sums.end());
  out.other_log_sums.assign(other.log_sums.begin(), other.log_sums.end());
  const auto chunks = head_chunks(static_cast<int64_t>(first.rows.size()), context.pool.threads());
  auto firsts = scratch_of(context, *first.head, chunks, "");
  auto others = scratch_of(context, *other.head, chunks, kOtherHead);
  context.pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t c, int thread) {
    const HeadChunk chunk = chunks[c];
    const int64_t n = chunk.rows();
    ViewLogits& of_first = firsts[chunks.size() == firsts.size() ? c : thread];
    ViewLogits& of_other = others[chunks.size() == others.size() ? c : thread];
    of_first.gather(context.kernels, first, first.rows.subspan(chunk.begin, n));
    of_other.gather(context.kernels, other, other.rows.subspan(chunk.begin, n));
    std::vector<DivergenceSums> sums(static_cast<size_t>(n));
    for (int64_t id = 0; id < first.head->out; id += kVocabularyBlock) {
      const float* a = logits_of(context.kernels, first, chunk, id, of_first);
      const float* b = logits_of(context.kernels, other, chunk, id, of_other);
      const int64_t ids = std::min(kVocabularyBlock, first.head->out - id);
      for (int64_t i = 0; i < n; ++i)
        divergence_block(context.kernels, divergent_row(out, chunk.begin + i), a + i * kVocabularyBlock,
                         b + i * kVocabularyBlock, ids, &sums[i]);
    }
    for (int64_t i = 0; i < n; ++i) {
      const DivergenceSums& sum = sums[i];
      out.of_first[chunk.begin + i] = sum.of_first;
      out.values[chunk.begin + i] = beta == 0   ? sum.of_other
                                    : beta == 1 ? sum.of_first
                                                : beta * sum.of_other + (1.0 - beta) * sum.of_first;
    }
  });
  return out;
}

VocabularyStatistics vocabulary_statistics(const Context& context, const HeadView& view) {
  VocabularyStatistics out;
  out.log_sum_sq_probs.resize(view.rows.size());
  out.mean_logprobs.resize(view.rows.size());
  const auto inverse = static_cast<float>(1.0 / view.temperature);
  const auto chunks = head_chunks(static_cast<int64_t>(view.rows.size()), context.pool.threads());
  auto scratch = scratch_of(context, *view.head, chunks, "");
  context.pool.run(static_cast<int64_t>(chunks.size()), [&](int64_t c, int thread) {
    const HeadChunk chunk = chunks[c];
    const int64_t n = chunk.rows();
    ViewLogits& own = scratch[chunks.size() == scratch.size() ? c : thread];
    own.gather(context.kernels, view, view.rows.subspan(chunk.begin, n));
    std::vector<SpreadSums> sums(static_cast<size_t>(n));
    for (int64_t id = 0; id < view.head->out; id += kVocabularyBlock) {
      const float* logits = logits_of(context.kernels, view, chunk, id, own);
      const int64_t ids = std::min(kVocabularyBlock, view.head->out - id);
      for (int64_t i = 0; i < n; ++i)
        spread_block(context.kernels, view.log_sums[chunk.begin + i], inverse, logits + i * kVocabularyBlock, ids,
                     &sums[i]);
    }
    for (int64_t i = 0; i < n; ++i) {
      out.log_sum_sq_probs[chunk.begin + i] = exact_log(sums[i].squares);
      out.mean_logprobs[chunk.begin + i] =
          sums[i].logits / static_cast<double>(view.head->out) - view.log_sums[chunk.begin + i];
    }
  });
  return out;
}

void plan_head_divergence(const Context& context, const PackedMatrix& first, const PackedMatrix& other, int64_t rows) {
  CHECK(context.ledger.planned());
  const auto chunks = head_chunks(rows, context.pool.threads());
  const auto firsts = scratch_of(context, first, chunks, ""), others = scratch_of(context, other, chunks, kOtherHead);
}

}  // namespace candor::engine
