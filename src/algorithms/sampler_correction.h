// The ratio between the policy that trains and the sampler that another program ran, as TRL corrects for it ("vLLM
// importance sampling correction"). Our own sampler needs none: its log-probabilities are the policy's, bit for bit.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "algorithms/ragged.h"

namespace candor::algorithms {

enum class SamplerCorrectionMode { kTokenTruncate, kTokenMask, kSequenceTruncate, kSequenceMask };

struct SamplerCorrection {
  SamplerCorrectionMode mode = SamplerCorrectionMode::kSequenceMask;
  std::optional<double> min;  // none: no bound
  std::optional<double> max = 3.0;
};

// [tokens] for GrpoInputs::sampler_correction: exp(old - sampling) of the token, or of the row's counted tokens
// together (sequence modes: every token of the row has it). truncate cuts it to [min, max]; mask makes it 0 strictly
// outside. A token for which the sampler gave no number (NaN), or under the mask, adds the log-ratio 0.
std::vector<double> sampler_correction(const RaggedRows& rows, std::span<const double> old_logprobs,
                                       std::span<const double> sampling_logprobs, const SamplerCorrection& options);

}  // namespace candor::algorithms
