// The fused head: hidden states to log-probabilities and entropies without holding [tokens, vocabulary], but for the
// logits of a few rows that are kept for the way back.
//
// The vocabulary passes in blocks of 512; each row keeps running statistics (HeadState). The sampler, which needs whole
// rows of logits, runs the same statistics over the same blocks, so its log-probabilities have the same bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/head_adapter.h"
#include "engine/model.h"

namespace candor::engine {

inline constexpr int64_t kVocabularyBlock = 512;

// One prediction: the hidden state at row `hidden_row` predicts `target`.
struct HeadRow {
  int64_t hidden_row = 0;
  int32_t target = 0;
};

struct HeadOutput {
  std::vector<float> logprobs;   // [rows], ln p(target) at temperature τ
  std::vector<float> entropy;    // [rows], nats, of the distribution at τ
  std::vector<double> log_sums;  // [rows], ln Σ exp(z/τ)
  std::vector<int32_t> argmax;   // [rows], the smallest id among the likeliest

  HeadOutput slice(size_t first, size_t count) const;
  void append(const HeadOutput& more);
};

// The statistics of one finished row.
struct RowStatistics {
  float logprob, entropy;
  double log_sum;
  int32_t argmax;
};
RowStatistics finish(const HeadState& state);

// Statistics of a whole row of logits [vocabulary], block by block.
RowStatistics row_statistics(const Kernels& kernels, const float* logits, int64_t vocabulary, float inverse_temperature,
                             int64_t target);

// Logits that head_forward leaves to head_backward, which computes those of later rows again: of the first `rows` rows,
// block by block of the vocabulary, [rows, 512] each. The same bits either way.
struct KeptLogits {
  float* data = nullptr;
  int64_t rows = 0;
  int64_t first = 0;  // what a call counts as row 0
  bool holds(int64_t row) const { return first + row < rows; }
  float* at(int64_t first_id, int64_t row) const { return data + first_id * rows + (first + row) * kVocabularyBlock; }
};
// How many of `rows` rows are kept, within 32 MB; and the floats they take.
int64_t kept_rows(int64_t rows, int64_t vocabulary);
int64_t kept_floats(int64_t kept_rows, int64_t vocabulary);

// head: [vocabulary, hidden]; hidden: [*, padded(hidden)]. adapter: what a LoRA pair adds to the logits, here and
// below.
HeadOutput head_forward(const Context& context, const PackedMatrix& head, const float* hidden,
                        std::span<const HeadRow> rows, double temperature,
                        const std::optional<HeadAdapter>& adapter = std::nullopt, const KeptLogits& kept = {});

// Of a planned ledger: allocates, and lets go of, what head_forward and head_backward of `rows` rows hold while they
// run.
void plan_head_forward(const Context& context, const PackedMatrix& head, int64_t rows);
// other: of a backward with a divergence, else null.
void plan_head_backward(const Context& context, const PackedMatrix& head, int64_t rows,
                        const PackedMatrix* other = nullptr);

// What a forward of the head leaves for those that go through the vocabulary again.
struct HeadView {
  const PackedMatrix* head = nullptr;
  const float* hidden = nullptr;     // [*, padded(hidden)]
  std::span<const HeadRow> rows;     // as the forward had them, and what follows
  std::span<const double> log_sums;  // [rows]
  double temperature = 1.0;
  std::optional<HeadAdapter> adapter = {};
  KeptLogits kept = {};
};

struct Divergence;  // head_divergence.h

// d loss by each number that the head gave of a row, [rows] each; empty: 0.
struct HeadDerivatives {
  std::span<const float> logprob, entropy;
  std::span<const float> mean_logprob = {};  // by VocabularyStatistics::mean_logprobs (head_divergence.h)
  // By the divergence from another head, of which the rows are the same ones and the first view is this head's.
  std::span<const float> divergence = {};
  const HeadView* other = nullptr;
  const Divergence* diverged = nullptr;
};

// Adds d loss / d hidden into dhidden [*, padded(hidden)]. Rows that share a hidden state add in the order of `rows`.
// Where dweight is not null, the head's own gradient is added into it, laid out as head.data, rows in their order.
// kept: as the forward left it. Rows whose derivatives are all 0 are skipped.
void head_backward(const Context& context, const PackedMatrix& head, const float* hidden, std::span<const HeadRow> rows,
                   double temperature, const HeadOutput& forward, const HeadDerivatives& derivatives, float* dhidden,
                   float* dweight, const std::optional<HeadAdapter>& adapter = std::nullopt,
                   const KeptLogits& kept = {});

// Whole rows of logits [rows, padded(vocabulary)] for the sampler.
void head_logits(const Context& context, const PackedMatrix& head, const float* hidden, int64_t rows, float* logits,
                 const std::optional<HeadAdapter>& adapter = std::nullopt);

}  // namespace candor::engine
