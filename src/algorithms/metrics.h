// Named numbers of one optimizer step, in the order in which they are written; docs/metrics.md defines every name.
// NaN means that the metric is not defined for this step (nothing was counted): the run log writes null.
#pragma once

#include <string>
#include <vector>

namespace candor::algorithms {

struct Metric {
  std::string name;
  double value = 0;
};
using Metrics = std::vector<Metric>;

}  // namespace candor::algorithms
