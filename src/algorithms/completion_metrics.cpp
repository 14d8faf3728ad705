#include "algorithms/completion_metrics.h"

#include <algorithm>

#include "base/check.h"

namespace candor::algorithms {

namespace {

struct LengthRange {
  int64_t count = 0, sum = 0, min = 0, max = 0;

  void add(int64_t length) {
    min = count == 0 ? length : std::min(min, length);
    max = count == 0 ? length : std::max(max, length);
    sum += length;
    ++count;
  }
  double mean() const { return static_cast<double>(sum) / static_cast<double>(std::max<int64_t>(count, 1)); }
};

}  // namespace

Metrics completion_metrics(std::span<const int64_t> lengths, std::span<const uint8_t> terminated) {
  CHECK(lengths.size() == terminated.size());
  LengthRange all, ended;
  for (size_t i = 0; i < lengths.size(); ++i) {
    all.add(lengths[i]);
    if (terminated[i]) ended.add(lengths[i]);
  }
  const double cut_off = static_cast<double>(all.count - ended.count);
  return {{"completions/mean_length", all.mean()},
          {"completions/min_length", static_cast<double>(all.min)},
          {"completions/max_length", static_cast<double>(all.max)},
          {"completions/clipped_ratio", cut_off / static_cast<double>(std::max<int64_t>(all.count, 1))},
          {"completions/mean_terminated_length", ended.mean()},
          {"completions/min_terminated_length", static_cast<double>(ended.min)},
          {"completions/max_terminated_length", static_cast<double>(ended.max)}};
}

}  // namespace candor::algorithms
