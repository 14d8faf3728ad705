#include "guard/rollout_signals.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "guard/repetition.h"

namespace candor::guard {

namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr double kVerifier = 2.0, kAccepts = 0.5;

// The mean of what was added and is a number.
struct Mean {
  double sum = 0, count = 0;
  void add(double value) {
    if (std::isnan(value)) return;
    sum += value;
    ++count;
  }
  double value() const { return count > 0 ? sum / count : kUndefined; }
};

double mean_of(std::span<const double> values) {
  Mean mean;
  for (const double value : values) mean.add(value);
  return mean.value();
}

// With n - 1; 0 for one number, NaN for none.
double deviation_of(std::span<const double> values) {
  Mean mean;
  for (const double value : values) mean.add(value);
  if (mean.count < 2) return mean.count == 1 ? 0 : kUndefined;
  double squares = 0;
  for (const double value : values)
    if (!std::isnan(value)) squares += (value - mean.value()) * (value - mean.value());
  return std::sqrt(squares / (mean.count - 1));
}

// Completions of one prompt are no independent draws, so the groups' means speak where there are several; few groups
// may agree by chance, so never less than the rows say.
double standard_error(std::span<const double> values, int64_t group_size) {
  const double count =
      static_cast<double>(std::count_if(values.begin(), values.end(), [](double value) { return !std::isnan(value); }));
  std::vector<double> means;
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(group_size))
    means.push_back(mean_of(values.subspan(i, static_cast<size_t>(group_size))));
  const double groups =
      static_cast<double>(std::count_if(means.begin(), means.end(), [](double mean) { return !std::isnan(mean); }));
  const double by_rows = deviation_of(values) / std::sqrt(count);
  return groups < 2 ? by_rows : std::max(by_rows, deviation_of(means) / std::sqrt(groups));
}

// Of the share of rows that are 1. None of a few rows is no proof that there are none: never less than the binomial
// error of Laplace's estimate (k + 1) / (N + 2).
double share_error(std::span<const double> rows, int64_t group_size) {
  Mean mean;
  for (const double row : rows)
    if (!std::isnan(row)) mean.add(row);
  const double share = (mean.value() * mean.count + 1) / (mean.count + 2);
  return std::max(standard_error(rows, group_size), std::sqrt(share * (1 - share) / mean.count));
}

bool is_verifier(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(),
                     [](double value) { return std::isnan(value) || std::abs(value) <= kVerifier; });
}

// Of each row 1 where `have` accepts and `lack` rejects it, else 0; NaN where one of the two is not known.
std::vector<double> accepted_without(std::span<const double> have, std::span<const double> lack) {
  std::vector<double> rows(have.size(), kUndefined);
  for (size_t i = 0; i < have.size(); ++i)
    if (!std::isnan(have[i]) && !std::isnan(lack[i])) rows[i] = have[i] >= kAccepts && lack[i] < kAccepts ? 1 : 0;
  return rows;
}

std::vector<double> part(const RolloutView& view, size_t k) {
  std::vector<double> values(view.rewards.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = view.parts[i * view.part_names.size() + k];
  return values;
}

// The format parts together (the least of them) against what they should dress: the accuracy, else the held-out reward.
// NaN where one of the two is not there.
double hollow_format(const RolloutView& view) {
  std::vector<double> format(view.rewards.size(), kUndefined);
  std::vector<double> substance(view.gold.begin(), view.gold.end());
  bool found = false;
  for (size_t k = 0; k < view.part_names.size(); ++k) {
    const std::string& name = view.part_names[k];
    if (name == "accuracy") substance = part(view, k);
    if (name.find("format") == std::string::npos) continue;
    const std::vector<double> values = part(view, k);
    for (size_t i = 0; i < values.size(); ++i) format[i] = found ? std::min(format[i], values[i]) : values[i];
    found = true;
  }
  if (!found || substance.empty() || !is_verifier(format) || !is_verifier(substance)) return kUndefined;
  return mean_of(accepted_without(format, substance));
}

// P(the reward accepts | the held-out one rejects).
double accept_wrong(const RolloutView& view) {
  Mean mean;
  for (size_t i = 0; i < view.gold.size(); ++i)
    if (view.gold[i] < kAccepts && !std::isnan(view.rewards[i])) mean.add(view.rewards[i] >= kAccepts ? 1 : 0);
  return mean.value();
}

double unique_completions(const RolloutView& view) {
  Mean mean;
  std::vector<std::string_view> group;
  const auto size = static_cast<size_t>(view.group_size);
  if (size < 2) return kUndefined;
  for (size_t i = 0; i < view.texts.size(); i += size) {
    group.assign(view.texts.begin() + static_cast<std::ptrdiff_t>(i),
                 view.texts.begin() + static_cast<std::ptrdiff_t>(i + size));
    std::sort(group.begin(), group.end());
    mean.add(static_cast<double>(std::unique(group.begin(), group.end()) - group.begin()) / static_cast<double>(size));
  }
  return mean.value();
}

double compression_ratio(std::span<const std::string> texts) {
  Deflater deflater;
  double before = 0, after = 0;
  for (const std::string& text : texts) {
    before += static_cast<double>(text.size());
    after += static_cast<double>(deflater.size(text));
  }
  return before > 0 ? before / after : kUndefined;
}

double gap_of_truncated(const RolloutView& view) {
  Mean cut, ended;
  for (size_t i = 0; i < view.finished.size(); ++i) (view.finished[i] ? ended : cut).add(view.rewards[i]);
  return cut.value() - ended.value();
}

}  // namespace

double correlation_within_groups(std::span<const double> a, std::span<const double> b, int64_t group_size) {
  CHECK(a.size() == b.size());
  if (a.empty()) return kUndefined;
  CHECK(group_size >= 1);
  double ab = 0, aa = 0, bb = 0;
  for (size_t begin = 0; begin < a.size(); begin += static_cast<size_t>(group_size)) {
    const size_t end = std::min(a.size(), begin + static_cast<size_t>(group_size));
    Mean mean_a, mean_b;
    for (size_t i = begin; i < end; ++i) {
      if (std::isnan(a[i]) || std::isnan(b[i])) continue;
      mean_a.add(a[i]);
      mean_b.add(b[i]);
    }
    for (size_t i = begin; i < end; ++i) {
      if (std::isnan(a[i]) || std::isnan(b[i])) continue;
      const double x = a[i] - mean_a.value(), y = b[i] - mean_b.value();
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
  }
  // Equal numbers leave a residue of their mean's rounding.
  constexpr double kResidue = 1e-20;
  return aa > kResidue && bb > kResidue ? ab / std::sqrt(aa * bb) : kUndefined;
}

algorithms::Metrics rollout_signals(const RolloutView& view) {
  const size_t rows = view.rewards.size();
  CHECK(view.group_size >= 1 && rows % static_cast<size_t>(view.group_size) == 0);
  CHECK(view.texts.size() == rows && view.ids.size() == rows && view.parts.size() == rows * view.part_names.size());
  CHECK(view.gold.empty() || view.gold.size() == rows);
  CHECK(view.finished.empty() || view.finished.size() == rows);
  std::vector<double> lengths;
  Mean distinct_1, distinct_2, repeated;
  for (const std::span<const int32_t> ids : view.ids) {
    lengths.push_back(static_cast<double>(ids.size()));
    distinct_1.add(distinct_ngrams(ids, 1));
    distinct_2.add(distinct_ngrams(ids, 2));
    if (!ids.empty()) repeated.add(static_cast<double>(longest_repeat(ids)) / lengths.back());
  }
  const bool gold = !view.gold.empty();
  const bool verifiers = gold && is_verifier(view.rewards) && is_verifier(view.gold);
  const std::vector<double> paid_wrong = verifiers ? accepted_without(view.rewards, view.gold) : std::vector<double>();
  algorithms::Metrics signals = {
      {"guard/length_correlation", correlation_within_groups(view.rewards, lengths, view.group_size)},
      {"guard/truncated_gap", gap_of_truncated(view)},
      {"guard/distinct_1", distinct_1.value()},
      {"guard/distinct_2", distinct_2.value()},
      {"guard/compression_ratio", compression_ratio(view.texts)},
      {"guard/repeated_ngram", repeated.value()},
      {"guard/unique_completions", unique_completions(view)},
      {"guard/entropy", mean_of(view.entropies)},
      {"guard/ensemble_disagreement", mean_of(view.disagreement)},
      {"guard/hollow_format", hollow_format(view)},
      {"guard/accept_wrong", verifiers ? accept_wrong(view) : kUndefined},
      {"guard/paid_wrong", mean_of(paid_wrong)},
      {"guard/paid_wrong_error", verifiers ? share_error(paid_wrong, view.group_size) : kUndefined},
      {"guard/gold_correlation",
       gold ? correlation_within_groups(view.rewards, view.gold, view.group_size) : kUndefined},
      {"guard/kl", mean_of(view.kl)},
      {"guard/kl_exact", view.kl_exact},
      {"gold", mean_of(view.gold)},
      {"gold/std", deviation_of(view.gold)},
      {"gold/standard_error", gold ? standard_error(view.gold, view.group_size) : kUndefined},
  };
  std::erase_if(signals, [gold](const algorithms::Metric& signal) {
    return std::isnan(signal.value) && !(gold && signal.name == "gold");
  });
  return signals;
}

}  // namespace candor::guard
