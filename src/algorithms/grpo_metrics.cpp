// What the rows of a step add up to, under TRL's names.
#include <algorithm>
#include <cmath>
#include <limits>

#include "algorithms/grpo.h"

namespace candor::algorithms {

Metrics grpo_metrics(std::span<const GrpoRow> rows, const GrpoOptions& options, const GrpoMeasured& measured) {
  constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
  GrpoRow sum;
  double low_min = kUndefined, high_max = kUndefined;
  for (const GrpoRow& row : rows) {
    sum.tokens += row.tokens;
    sum.entropy += row.entropy;
    sum.kl += row.kl;
    sum.kl_k1 += row.kl_k1;
    sum.kl_k2 += row.kl_k2;
    sum.kl_k3 += row.kl_k3;
    sum.ratios += row.ratios;
    sum.clipped_low += row.clipped_low;
    sum.clipped_high += row.clipped_high;
    sum.row_weights += row.row_weights;
    sum.row_weight_count += row.row_weight_count;
    if (row.ratios == 0) continue;
    low_min = std::fmin(low_min, static_cast<double>(row.clipped_low) / static_cast<double>(row.ratios));
    high_max = std::fmax(high_max, static_cast<double>(row.clipped_high) / static_cast<double>(row.ratios));
  }
  auto mean = [](double total, int64_t count) { return total / static_cast<double>(std::max<int64_t>(count, 1)); };
  auto share = [&](int64_t clipped) { return mean(static_cast<double>(clipped), sum.ratios); };

  Metrics out;
  if (measured.entropies) out.push_back({"entropy", mean(sum.entropy, sum.tokens)});
  if (measured.reference) {
    out.push_back({"kl", mean(sum.kl, sum.tokens)});
    out.push_back({"kl_k1", mean(sum.kl_k1, sum.tokens)});
    out.push_back({"kl_k2", mean(sum.kl_k2, sum.tokens)});
    out.push_back({"kl_k3", mean(sum.kl_k3, sum.tokens)});
  }
  if (options.loss_type == LossType::kCispo) {
    out.push_back({"cispo_clip_ratio", share(sum.clipped_high)});
  } else if (options.loss_type == LossType::kVespo) {
    out.push_back({"vespo/phi_seq_mean", mean(sum.row_weights, sum.row_weight_count)});
  } else if (options.loss_type != LossType::kSapo) {
    out.push_back({"clip_ratio/low_mean", share(sum.clipped_low)});
    out.push_back({"clip_ratio/low_min", low_min});
    out.push_back({"clip_ratio/high_mean", share(sum.clipped_high)});
    out.push_back({"clip_ratio/high_max", high_max});
    out.push_back({"clip_ratio/region_mean", share(sum.clipped_low + sum.clipped_high)});
  }
  return out;
}

}  // namespace candor::algorithms
