// How much a row's tokens count in the loss of an optimizer step.
//
// Every group loss is Σ_i weight_i Σ_t (term of token t of row i): the loss types differ in the weight alone. The
// weights are made once per optimizer step, from all its rows, before anything is split; a micro-batch gets its rows'
// share of them. So no split can change a derivative, not even its last bit.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

enum class LossType { kGrpo, kDrGrpo, kDapo, kBnpo, kCispo, kSapo, kLuspo, kVespo, kGmpo };

struct NormalizerOptions {
  int64_t max_completion_length = 0;  // tokens; dr_grpo's denominator
  // TRL's per_device_train_batch_size: consecutive rows that share one mean (bnpo: one token mean). 0: the whole step
  // is one batch. The last batch may be shorter.
  int64_t local_batch_rows = 0;
  // The batches' losses are divided by this number. 0: the number of local batches. TRL's evaluation: 1.
  int64_t accumulation_steps = 0;
  // dapo's and cispo's denominator; 0: the counted tokens of the step. TRL's is the generation batch's counted tokens ·
  // accumulation / steps_per_generation, which differs where a generation serves several optimizer steps.
  double step_tokens = 0;
};

struct LossNormalizer {
  int64_t rows = 0, tokens = 0;     // of the whole step; tokens: counted ones
  std::vector<double> row_weights;  // [N]
};

// rows: of the whole optimizer step. With L = counted tokens of the row (at least 1), N = rows of its local batch, acc
// = accumulation steps, n = counted tokens of the step (at least 1), the weight is
//   grpo, sapo 1/(N·L·acc)     bnpo 1/(counted tokens of the local batch·acc)     dr_grpo
//   1/(N·max_completion_length·acc) luspo, gmpo 1/(N·acc)      dapo, cispo, vespo 1/n
// A row without counted tokens has a weight too (nothing is multiplied by it) and stays in N.
LossNormalizer loss_normalizer(const RaggedRows& rows, LossType type, const NormalizerOptions& options);

}  // namespace candor::algorithms
