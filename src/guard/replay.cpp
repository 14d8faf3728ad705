#include "guard/replay.h"

#include <algorithm>
#include <cmath>

namespace candor::guard {

namespace {

using files::Json;

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// What the guard reads of a row, under our names.
struct RowNumbers {
  bool rollouts = false, update = false, preference = false;  // what there is to look at
  algorithms::Metrics signals, step_row;
  UpdateNumbers numbers;
  PreferenceNumbers pairs;
};

// NaN where it is absent, null or no number.
double number(const Json& row, const std::string& name) {
  const auto at = row.find(name);
  return at != row.end() && at->is_number() ? at->get<double>() : kUnknown;
}

double first_number(const Json& row, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const double value = number(row, name); !std::isnan(value)) return value;
  return kUnknown;
}

// Whether the guard looked at a generation in this step. Completions have tokens, so the second is always defined.
bool has_rollout_signals(const Json& row) {
  return row.contains("guard/length_correlation") || row.contains("guard/repeated_ngram");
}

bool has_guard_columns(const Json& row) {
  for (const auto& item : row.items())
    if (item.key().starts_with("guard/")) return true;
  return false;
}

void add_rollouts(const Json& row, RowNumbers& read) {
  for (const auto& [name, value] : row.items()) {
    if (!value.is_number()) continue;
    if (name.starts_with("guard/") || name == "gold" || name.starts_with("gold/"))
      read.signals.push_back({name, value.get<double>()});
    if (name.starts_with("rewards/") && name.ends_with("/mean")) read.step_row.push_back({name, value.get<double>()});
  }
  const double length = first_number(row, {"completions/mean_length", "completion_length"});
  double reward = first_number(row, {"reward", "objective/scores"});
  if (std::isnan(reward)) reward = -number(row, "divergence");  // of distillation, which has none
  read.step_row.insert(read.step_row.end(), {{"reward", reward},
                                             {"frac_reward_zero_std", number(row, "frac_reward_zero_std")},
                                             {"completions/mean_length", length},
                                             {"completions/clipped_ratio", number(row, "completions/clipped_ratio")}});
}

// TRL 1.16 has the mean KL per token, with PPO per completion.
void add_foreign_rollouts(const Json& row, RowNumbers& read) {
  double kl = number(row, "objective/kl");
  if (std::isnan(kl)) kl = number(row, "kl") * first_number(row, {"completions/mean_length", "completion_length"});
  read.signals.push_back({"guard/kl", kl});
  read.signals.push_back({"guard/entropy", first_number(row, {"entropy", "policy/entropy_avg"})});
}

void add_pairs(const Json& row, RowNumbers& read) {
  read.pairs.chosen_logps = number(row, "logps/chosen");
  read.pairs.rejected_logps = number(row, "logps/rejected");
  read.pairs.margin = first_number(row, {"rewards/margins", "margin"});
  read.pairs.accuracy = first_number(row, {"rewards/accuracies", "accuracy"});
  read.pairs.margin_length_correlation = number(row, "guard/margin_length_correlation");
  read.pairs.gold = number(row, "gold");
  read.pairs.gold_error = number(row, "gold/standard_error");
  read.pairs.gold_proxy = number(row, "gold/own_reward");
}

RowNumbers row_numbers(const Json& row, bool foreign) {
  RowNumbers read;
  const bool samples = !std::isnan(first_number(row, {"reward", "objective/scores"}));
  read.update = row.contains("loss");
  read.rollouts = foreign ? samples : has_rollout_signals(row);
  read.preference = !samples && !has_rollout_signals(row) &&
                    (row.contains("logps/chosen") || row.contains("rewards/margins") || row.contains("margin"));
  if (read.rollouts) add_rollouts(row, read);
  if (read.rollouts && foreign) add_foreign_rollouts(row, read);
  if (read.preference) add_pairs(row, read);
  if (read.update) read.numbers.loss = number(row, "loss");
  if (read.update && row.contains("grad_norm")) read.numbers.grad_norm = number(row, "grad_norm");
  read.numbers.max_log_ratio = number(row, "guard/max_log_ratio");
  // Only ours is 0 by design: other trainers sample with another program than they train with.
  const auto gap = row.find("sampling/max_abs_logprob_gap");
  if (!foreign && gap != row.end()) read.numbers.max_gap = number(row, "sampling/max_abs_logprob_gap");
  return read;
}

void add(const Verdict& look, Verdict& of_step) {
  of_step.answer = std::max(of_step.answer, look.answer);
  if (!look.reason.empty()) of_step.reason += (of_step.reason.empty() ? "" : " ") + look.reason;
  of_step.signals = look.signals;
}

std::vector<std::string> missing_signals(const Guard& guard, bool rollouts, bool preference) {
  std::vector<std::string> missing;
  const Memory& memory = guard.memory();
  for (const Rule& rule : guard.thresholds().rules) {
    const auto watch = memory.watches.find(std::string(rule.signal));
    const bool concerns = rule.preference ? preference : rollouts;
    if (concerns && (watch == memory.watches.end() || watch->second.looks == 0))
      missing.push_back(fmt::format("{} ({})", rule.signal, rule.metric));
  }
  if (rollouts && std::isnan(memory.d)) missing.emplace_back("kl_spike, kl_budget (guard/kl)");
  if (rollouts && memory.gold.empty()) missing.emplace_back("gold_falls, beyond_optimum (gold)");
  if (preference && memory.gold.empty()) missing.emplace_back("gold_falls (gold)");
  return missing;
}

}  // namespace

Result<Replay> replay(const std::vector<Json>& rows, const Options& options, const Thresholds& thresholds,
                      const StoredBands& bands) {
  Replay replay{Guard(options, thresholds, bands), {}, {}, {}};
  bool foreign = true, rollouts = false, preference = false;
  for (const Json& row : rows) foreign = foreign && !(row.is_object() && has_guard_columns(row));
  int64_t before = std::numeric_limits<int64_t>::min();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].is_object()) return error("[guard] row {}: expected a JSON object.", i + 1);
    const auto at = rows[i].find("step");
    if (at == rows[i].end() || !at->is_number_integer())
      return error("[guard] row {}: expected a whole number \"step\".", i + 1);
    const auto step = at->get<int64_t>();
    if (step < before)
      return error("[guard] row {}: step {} comes behind step {}. Rows must be in the order of their steps.", i + 1,
                   step, before);
    before = step;
    const RowNumbers row = row_numbers(rows[i], foreign);
    Verdict verdict;
    if (row.rollouts) add(replay.guard.inspect_rollouts(step, row.signals, row.step_row), verdict);
    if (row.preference) add(replay.guard.inspect_preference(step, row.pairs), verdict);
    if (row.update) add(replay.guard.inspect_update(step, row.numbers), verdict);
    rollouts = rollouts || row.rollouts;
    preference = preference || row.preference;
    if (!row.rollouts && !row.preference && !row.update) continue;
    replay.verdicts.push_back(std::move(verdict));
    replay.steps.push_back(step);
  }
  if (replay.steps.empty())
    return error("[guard] none of the {} rows has a loss, a reward or log-probabilities of pairs to look at.",
                 rows.size());
  replay.missing = missing_signals(replay.guard, rollouts, preference);
  return replay;
}

}  // namespace candor::guard
