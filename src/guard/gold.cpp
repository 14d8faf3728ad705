#include "guard/gold.h"

#include <algorithm>
#include <cmath>

#include "guard/bands.h"

namespace candor::guard {

namespace {

// Of one look.
double error_of(const std::vector<GoldLook>& looks) {
  double squares = 0, count = 0;
  std::vector<double> distances;
  for (size_t i = 0; i < looks.size(); ++i) {
    if (i > 0) distances.push_back(std::abs(looks[i].gold - looks[i - 1].gold));
    if (!std::isfinite(looks[i].error)) continue;
    squares += looks[i].error * looks[i].error;
    ++count;
  }
  return count > 0 ? std::sqrt(squares / count) : 1.4826 / std::sqrt(2.0) * median(distances);
}

struct Means {
  double gold = 0, proxy = 0;
};

constexpr double kLeastError = 1e-6;  // held-out rewards without any spread fell, or rose, for certain

Means means_of(const std::vector<GoldLook>& looks, size_t begin, size_t count) {
  Means means;
  for (size_t i = begin; i < begin + count; ++i) {
    means.gold += looks[i].gold / static_cast<double>(count);
    means.proxy += looks[i].proxy / static_cast<double>(count);
  }
  return means;
}

}  // namespace

GoldFall gold_fall(const std::vector<GoldLook>& looks) {
  GoldFall worst;
  const bool same_rows = !looks.empty() && looks.back().same_rows;
  const size_t fewest = same_rows ? 1 : 2, most = same_rows ? 1 : 16;
  for (size_t m = fewest; m <= most && 2 * m <= looks.size(); m *= 2) {
    const size_t newest = looks.size() - m;
    size_t best = 0;
    Means before = means_of(looks, 0, m);
    for (size_t i = 1; i + m <= newest; ++i)
      if (const Means means = means_of(looks, i, m); means.gold >= before.gold) {
        before = means;
        best = i;
      }
    const Means now = means_of(looks, newest, m);
    const bool both_below = looks.back().gold < before.gold && looks[looks.size() - 2].gold < before.gold;
    if (!both_below || !(now.proxy > before.proxy)) continue;
    const double error = std::max(error_of(looks) * std::sqrt(2.0 / static_cast<double>(m)), kLeastError);
    const double z = (before.gold - now.gold) / error;
    if (z > worst.z)
      worst = {z, static_cast<int64_t>(m), looks[best + m - 1].step, before.gold, now.gold, before.proxy, now.proxy};
  }
  return worst;
}

GoldFall growth_of_hole(const std::vector<GoldLook>& looks) {
  std::vector<GoldLook> paid_rightly;
  for (const GoldLook& look : looks)
    if (std::isfinite(look.paid_wrong))
      paid_rightly.push_back({look.step, look.d, 1 - look.paid_wrong, look.paid_wrong_error, look.proxy});
  return gold_fall(paid_rightly);
}

double initial_gold(const std::vector<GoldLook>& looks, int64_t control_steps) {
  double sum = 0, count = 0;
  for (const GoldLook& look : looks)
    if (count == 0 || look.step <= control_steps) {
      sum += look.gold;
      ++count;
    }
  return sum / count;
}

bool gold_is_at_its_best(const std::vector<GoldLook>& looks, int64_t control_steps, double gain, double loss) {
  constexpr size_t kLooks = 2;
  if (looks.size() <= kLooks) return false;
  double best = means_of(looks, 0, kLooks).gold;
  for (size_t i = 1; i + kLooks <= looks.size(); ++i) best = std::max(best, means_of(looks, i, kLooks).gold);
  const double now = means_of(looks, looks.size() - kLooks, kLooks).gold;
  const auto first =
      std::count_if(looks.begin(), looks.end(), [&](const GoldLook& look) { return look.step <= control_steps; });
  const double error = std::max(error_of(looks), kLeastError);
  const double of_gain = error * std::sqrt(1.0 / kLooks + 1.0 / static_cast<double>(std::max<int64_t>(first, 1)));
  return now - initial_gold(looks, control_steps) > gain * of_gain &&
         best - now < loss * error * std::sqrt(2.0 / kLooks);
}

std::optional<OveroptimizationFit> fit_gold(const std::vector<GoldLook>& looks, int64_t control_steps) {
  const double initial = initial_gold(looks, control_steps);
  std::vector<double> d, gain;
  for (const GoldLook& look : looks) {
    if (!std::isfinite(look.d)) continue;
    d.push_back(look.d);
    gain.push_back(look.gold - initial);
  }
  return fit_overoptimization(d, gain, OveroptimizationLaw::kReinforcement);
}

}  // namespace candor::guard
