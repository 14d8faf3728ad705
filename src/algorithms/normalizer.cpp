#include "algorithms/normalizer.h"

#include <algorithm>

#include "base/check.h"

namespace candor::algorithms {

LossNormalizer loss_normalizer(const RaggedRows& rows, LossType type, const NormalizerOptions& options) {
  CHECK(type != LossType::kDrGrpo || options.max_completion_length > 0);
  const size_t n = rows.size();
  LossNormalizer out{static_cast<int64_t>(n), rows.counted(), std::vector<double>(n)};
  const size_t batch =
      options.local_batch_rows > 0 ? static_cast<size_t>(options.local_batch_rows) : std::max<size_t>(n, 1);
  const size_t batches = (n + batch - 1) / batch;
  const double acc = static_cast<double>(options.accumulation_steps > 0 ? options.accumulation_steps : batches);
  const double step_tokens =
      std::max(options.step_tokens > 0 ? options.step_tokens : static_cast<double>(out.tokens), 1.0);

  for (size_t first = 0; first < n; first += batch) {
    const size_t count = std::min(batch, n - first);
    const double mean_rows = static_cast<double>(count) * acc;
    const double batch_tokens = std::max(static_cast<double>(rows.slice(first, count).counted()), 1.0);
    for (size_t i = first; i < first + count; ++i) {
      double& weight = out.row_weights[i];
      switch (type) {
        case LossType::kGrpo:
        case LossType::kSapo:
          weight = 1.0 / (mean_rows * static_cast<double>(std::max<int64_t>(rows.counted(i), 1)));
          break;
        case LossType::kBnpo:
          weight = 1.0 / (batch_tokens * acc);
          break;
        case LossType::kDrGrpo:
          weight = 1.0 / (mean_rows * static_cast<double>(options.max_completion_length));
          break;
        case LossType::kLuspo:
        case LossType::kGmpo:
          weight = 1.0 / mean_rows;
          break;
        case LossType::kDapo:
        case LossType::kCispo:
        case LossType::kVespo:
          weight = 1.0 / step_tokens;
          break;
      }
    }
  }
  return out;
}

}  // namespace candor::algorithms
