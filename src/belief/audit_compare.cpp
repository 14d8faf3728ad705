#include "belief/audit_compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace candor::belief {

namespace {

using Weights = std::span<const std::vector<double>>;

// The weighted share of the first `count` of `of` outcomes; behind them a half of either.
double drawn_share(const std::vector<double>& weights, const Share& share) {
  const auto of = static_cast<size_t>(share.of), count = static_cast<size_t>(share.count);
  double good = weights[of], all = weights[of] + weights[of + 1];
  for (size_t i = 0; i < of; ++i) {
    all += weights[i];
    if (i < count) good += weights[i];
  }
  return good / all;
}

struct Pair {
  const ItemResult* before;
  const ItemResult* after;
};

// π̂ of one audit under weights of the pairs; `half` is where its two halves stand.
double drawn_rate(const std::vector<Pair>& pairs, const ItemResult* Pair::*side, const AuditResult& audit,
                  const std::vector<double>& weights, size_t half, Weights controls) {
  double called = weights[half], said = weights[half] + weights[half + 1];
  for (size_t i = 0; i < pairs.size(); ++i) {
    const ItemResult& item = *(pairs[i].*side);
    if (!item.said) continue;
    said += weights[i];
    if (item.believed) called += weights[i];
  }
  const double rate = rogan_gladen(called / said, drawn_share(controls[0], audit.sensitivity),
                                   drawn_share(controls[1], audit.specificity));
  return std::clamp(rate, 0.0, 1.0);  // NaN stays NaN
}

// π̂ of the pairs' items that this audit says; nothing where it has no figure.
std::optional<double> rate_of(const std::vector<Pair>& pairs, const ItemResult* Pair::*side, const AuditResult& audit) {
  double called = 0, said = 0;
  for (const Pair& pair : pairs)
    if ((pair.*side)->said) {
      said += 1;
      called += (pair.*side)->believed;
    }
  if (!audit.estimate || said == 0) return std::nullopt;
  return std::clamp(rogan_gladen(called / said, audit.sensitivity.value, audit.specificity.value), 0.0, 1.0);
}

statistics::PairedCounts counts_of(const std::vector<Pair>& pairs, bool ItemResult::*what) {
  std::vector<uint8_t> before, after;
  for (const Pair& pair : pairs) {
    before.push_back(pair.before->*what);
    after.push_back(pair.after->*what);
  }
  return statistics::paired_counts(before, after);
}

}  // namespace

AuditComparison compare(const AuditResult& before, const AuditResult& after,
                        const statistics::BootstrapOptions& options) {
  std::unordered_map<std::string_view, const ItemResult*> known;
  for (const ItemResult& item : before.items) known.emplace(item.id, &item);
  AuditComparison out;
  std::vector<Pair> pairs;
  std::vector<std::pair<double, int64_t>> changes;  // of B, and the item's place
  for (size_t i = 0; i < after.items.size(); ++i) {
    const ItemResult& item = after.items[i];
    const auto found = known.find(item.id);
    if (found == known.end()) {
      ++out.only_after;
      continue;
    }
    pairs.push_back({found->second, &item});
    if (item.believed != found->second->believed)
      changes.emplace_back(item.posterior - found->second->posterior, static_cast<int64_t>(i));
    known.erase(found);
  }
  out.only_before = static_cast<int64_t>(known.size());
  out.items = static_cast<int64_t>(pairs.size());
  out.said = counts_of(pairs, &ItemResult::said);
  out.believed = counts_of(pairs, &ItemResult::believed);
  out.said_p = statistics::mcnemar_exact(out.said.only_before, out.said.only_after);
  out.believed_p = statistics::mcnemar_exact(out.believed.only_before, out.believed.only_after);
  std::stable_sort(changes.begin(), changes.end(),
                   [](const auto& a, const auto& b) { return std::abs(a.first) > std::abs(b.first); });
  for (const auto& [change, place] : changes)
    (after.items[static_cast<size_t>(place)].believed ? out.gained : out.lost).push_back(place);

  out.believed_before = rate_of(pairs, &Pair::before, before);
  out.believed_after = rate_of(pairs, &Pair::after, after);
  if (!out.believed_before || !out.believed_after) return out;
  const size_t n = pairs.size();
  const std::vector<statistics::Resampled> samples{{out.items, 4},  // two halves of either audit
                                                   {before.sensitivity.of, 2},
                                                   {before.specificity.of, 2},
                                                   {after.sensitivity.of, 2},
                                                   {after.specificity.of, 2}};
  out.difference = statistics::bayesian_bootstrap(
      samples,
      [&](Weights weights) {
        return drawn_rate(pairs, &Pair::after, after, weights[0], n + 2, weights.subspan(3, 2)) -
               drawn_rate(pairs, &Pair::before, before, weights[0], n, weights.subspan(1, 2));
      },
      options);
  return out;
}

std::string sentence(const AuditComparison& comparison, double confidence) {
  std::string out;
  if (comparison.difference) {
    const double difference = *comparison.believed_after - *comparison.believed_before;
    out = fmt::format(
        "Believes {:.1f}% of what it says, {:.1f}% before: {:+.1f} points ({:.0f}% interval {:+.1f} to {:+.1f}).",
        100 * *comparison.believed_after, 100 * *comparison.believed_before, 100 * difference, 100 * confidence,
        100 * comparison.difference->low, 100 * comparison.difference->high);
  } else {
    out = "Whether it believes more than before is undetermined: an audit without a figure cannot be compared.";
  }
  out += fmt::format(" Of {} propositions it says {} that it did not say before, and no longer says {} (p = {:.3g}).",
                     comparison.items, comparison.said.only_after, comparison.said.only_before, comparison.said_p);
  if (comparison.only_before + comparison.only_after > 0)
    out += fmt::format(" Left out: {} that only the first audit has, {} that only the second has.",
                       comparison.only_before, comparison.only_after);
  return out;
}

}  // namespace candor::belief
