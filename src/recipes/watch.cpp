#include "recipes/watch.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "algorithms/kl.h"
#include "base/input_file.h"
#include "guard/control_bands.h"
#include "guard/rollout_signals.h"

namespace candor::recipes {

namespace {

using guard::Answer;

constexpr const char* kFile = "guard_state.json";

// [N] log-ratios to the reference, NaN of rows that are another's; empty: not known.
std::vector<double> kl_of_rows(const SeenRollouts& seen) {
  if (seen.reference.empty()) return {};
  const Rollouts& rollouts = seen.rollouts;
  std::vector<double> kl = algorithms::row_kl_k1({rollouts.offsets, {}}, rollouts.logprobs, seen.reference);
  const int64_t own = seen.own == 0 ? rollouts.group_size : seen.own;
  for (size_t i = 0; i < kl.size(); ++i)
    if (static_cast<int64_t>(i) % rollouts.group_size >= own) kl[i] = std::nan("");
  return kl;
}

}  // namespace

bool is_watched(const TrainingConfig& config) {
  return config.guard.guard != "off";
}

Result<Watch> first_watch(const guard::Options& options, const std::string& recipe_yaml) {
  guard::Guard guard = TRY(guard::start(options, recipe_yaml));
  return Watch{std::move(guard)};
}

files::Json watch_json(const Watch& watch) {
  return {{"guard", guard::guard_json(watch.guard)}, {"stopped", watch.stopped}};
}

Result<Watch> watch_from_json(const files::Json& json, const guard::Options& options) {
  guard::Guard guard = TRY(guard::guard_from_json(json.at("guard"), options));
  return Watch{std::move(guard), json.at("stopped").get<std::string>()};
}

files::CheckpointFile watch_file(const Watch& watch) {
  return {kFile, [text = watch_json(watch).dump() + "\n"](OutputFile& out) { return out.write(text); }};
}

Result<Watch> read_watch(const std::filesystem::path& checkpoint, const guard::Options& options) {
  const std::filesystem::path path = checkpoint / kFile;
  if (!path_exists(path)) return Watch{guard::Guard(options)};  // nobody had looked
  const files::Json json = TRY(files::read_json_file(path));
  try {
    return watch_from_json(json, options);
  } catch (const files::Json::exception& e) {
    return error("[resume] {}: {}. The checkpoint was not written by this version of the program.", path.string(),
                 e.what());
  }
}

Result<void> go_on(Watch& watch, const TrainingConfig& config, std::string_view recipe, int64_t step) {
  if (watch.stopped.empty()) return {};
  if (config.guard.guard == "stop")
    return error(
        "[{}] the guard ended the run in {} before step {}: {} Add --guard warn (or off) to go on all the same, or "
        "begin a new run that changes what it is rewarded for.",
        recipe, config.output_dir, step + 1, watch.stopped);
  watch.stopped.clear();
  return {};
}

guard::Verdict joined(guard::Verdict a, const guard::Verdict& b) {
  a.answer = std::max(a.answer, b.answer);
  if (!a.reason.empty() && !b.reason.empty()) a.reason += " ";
  a.reason += b.reason;
  a.signals.insert(a.signals.end(), b.signals.begin(), b.signals.end());
  return a;
}

Look look_at_rollouts(guard::Guard& guard, const TrainingConfig& config, const SeenRollouts& seen, int64_t step) {
  const Rollouts& rollouts = seen.rollouts;
  if (!is_watched(config) && rollouts.gold.empty()) return {};
  guard::RolloutView view;
  view.group_size = rollouts.group_size;
  view.rewards = seen.rewards;
  view.parts = seen.parts;
  view.part_names = seen.part_names;
  view.texts = rollouts.texts;
  for (const engine::Completion& completion : rollouts.completions) view.ids.emplace_back(completion.ids);
  view.finished = rollouts.finished;
  view.entropies = rollouts.entropies;
  const std::vector<double> kl = kl_of_rows(seen);
  view.kl = kl;
  const auto rows = static_cast<double>(std::max<size_t>(rollouts.lengths.size(), 1));
  for (const algorithms::Metric& metric : seen.known)
    if (metric.name == "kl_exact") view.kl_exact = metric.value * static_cast<double>(rollouts.offsets.back()) / rows;
  view.gold = rollouts.gold;
  view.disagreement = rollouts.disagreement;
  Look look{guard::rollout_signals(view), {}};
  if (!is_watched(config)) {
    std::erase_if(look.row, [](const algorithms::Metric& metric) { return !metric.name.starts_with("gold"); });
    return look;
  }
  look.verdict = guard.inspect_rollouts(step, look.row, seen.known);
  return look;
}

Look look_at_samples(guard::Guard& guard, const TrainingConfig& config, const SeenSamples& seen, int64_t step) {
  if (!is_watched(config)) return {};
  return {seen.signals, guard.inspect_rollouts(step, seen.signals, seen.known)};
}

Look look_at_preferences(guard::Guard& guard, const TrainingConfig& config, const guard::PreferenceNumbers& numbers,
                         int64_t step) {
  if (!is_watched(config)) return {};
  Look look;
  look.row = {{"guard/chosen_length", numbers.chosen_length},
              {"guard/rejected_length", numbers.rejected_length},
              {"guard/margin_length_correlation", numbers.margin_length_correlation}};
  look.verdict = guard.inspect_preference(step, numbers);
  return look;
}

void look_at_update(guard::Guard& guard, const TrainingConfig& config, const guard::UpdateNumbers& numbers,
                    int64_t step, Look& look) {
  if (!is_watched(config)) return;
  look.verdict = joined(std::move(look.verdict), guard.inspect_update(step, numbers));
  for (const algorithms::Metric& metric : guard.metrics())
    if (!std::isnan(metric.value)) look.row.push_back(metric);
  look.row.push_back({"guard/skipped", look.verdict.answer == Answer::kSkip ? 1.0 : 0.0});
  if (look.verdict.answer == Answer::kStop) look.row.push_back({"guard/stopped", 1});
}

bool guard_saves_at(const guard::Guard& guard, const TrainingConfig& config, int64_t step) {
  return config.save_strategy != "no" && config.use_peft && guard.wants_checkpoint(step);
}

double widest_log_ratio(const algorithms::RaggedRows& rows, std::span<const double> logprobs,
                        std::span<const double> old_logprobs) {
  double widest = 0;
  for (size_t t = 0; t < logprobs.size(); ++t) {
    if (!rows.counts(t)) continue;
    const double ratio = std::abs(logprobs[t] - old_logprobs[t]);
    if (!std::isfinite(ratio)) return std::nan("");
    widest = std::max(widest, ratio);
  }
  return widest;
}

void tell(const guard::Verdict& verdict, int64_t step, const std::function<void(const std::string&)>& say) {
  if (!say || verdict.reason.empty() || verdict.answer == Answer::kStop) return;
  say(fmt::format("step {}: {}", step, verdict.reason));
}

GuardReport report_of(const guard::Guard& guard, const TrainingConfig& config) {
  GuardReport report;
  if (is_watched(config)) report.summary = guard::guard_summary(guard);
  return report;
}

Result<GuardReport> stop_report(const guard::Guard& guard, const TrainingConfig& config, const Look& look) {
  GuardReport report = report_of(guard, config);
  report.stopped = look.verdict.reason;
  for (const files::Checkpoint& kept : TRY(files::list_checkpoints(config.output_dir)))
    if (kept.step <= guard.good_checkpoint()) report.good_step = kept.step;
  return report;
}

}  // namespace candor::recipes
