#include "guard/guard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace candor::guard {

// What one look has brought up.
struct Guard::Findings {
  struct Stop {
    std::string sentence;
    bool is_new = false;  // it did not ask to stop at the look before
  };
  std::vector<std::string> news;  // alarms that begin, in words
  std::vector<Stop> stops;
  std::string skip;
};

namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double number(const algorithms::Metrics& metrics, std::string_view name) {
  for (const algorithms::Metric& metric : metrics)
    if (metric.name == name) return metric.value;
  return kUnknown;
}

void note_alarm(Memory& memory, Alarm alarm) {
  if (memory.alarms.size() < kMostAlarms)
    memory.alarms.push_back(std::move(alarm));
  else
    ++memory.alarms_left_out;
}

Rule reward_rule() {
  return {.signal = "reward", .metric = "reward", .floor = 0.01, .relative_floor = 0.02};
}

std::string in_words(const Rule& rule, double value, double end) {
  return fmt::format("{} ({} {:.3g}, control band {} {:.3g})", rule.says, rule.metric, value,
                     rule.side == Side::kHigh ? "at most" : "at least", end);
}

std::string in_words(const GoldFall& fall, bool of_pairs) {
  if (of_pairs)
    return fmt::format(
        "in the held-out pairs the held-out reward of the sides that the policy prefers, less that of the others, fell "
        "from {:.3g} to {:.3g} (best at step {}, {:.1f} standard errors) while the policy's own reward of them rose "
        "from {:.3g} to {:.3g}",
        fall.best, fall.now, fall.best_step, fall.z, fall.best_proxy, fall.now_proxy);
  return fmt::format(
      "the held-out reward fell from {:.3g} to {:.3g} (best at step {}, mean of {} looks, {:.1f} standard errors) "
      "while "
      "the reward rose from {:.3g} to {:.3g}",
      fall.best, fall.now, fall.best_step, fall.looks, fall.z, fall.best_proxy, fall.now_proxy);
}

std::string hole_in_words(const GoldFall& fall) {
  return fmt::format(
      "the share of completions that the reward pays for and the held-out reward rejects rose from {:.3g} to {:.3g} "
      "(least at step {}, mean of {} looks, {:.1f} standard errors) while the reward rose from {:.3g} to {:.3g}",
      1 - fall.best, 1 - fall.now, fall.best_step, fall.looks, fall.z, fall.best_proxy, fall.now_proxy);
}

}  // namespace

Guard::Guard(Options options, Thresholds thresholds, const StoredBands& bands)
    : options_(std::move(options)), thresholds_(std::move(thresholds)) {
  for (const Rule& rule : thresholds_.rules)
    if (const auto stored = bands.find(std::string(rule.signal)); stored != bands.end())
      memory_.watches[std::string(rule.signal)].band = stored->second;
}

void Guard::warn(std::string_view signal, double value, double threshold, std::string_view says, bool wrong,
                 Findings& findings) {
  if (!wrong) {
    memory_.on.erase(std::string(signal));
    return;
  }
  if (!memory_.on.insert(std::string(signal)).second) return;
  note_alarm(memory_, {std::string(signal), memory_.step, value, threshold, false});
  if (!says.empty()) findings.news.emplace_back(says);
}

void Guard::stop(std::string_view signal, double value, double threshold, const std::string& says, bool asks,
                 Findings& findings) {
  if (!asks) {
    memory_.stopping.erase(std::string(signal));
    return;
  }
  const bool is_new = memory_.stopping.insert(std::string(signal)).second;
  if (is_new) note_alarm(memory_, {std::string(signal), memory_.step, value, threshold, true});
  findings.stops.push_back({says, is_new});
}

void Guard::look_at(const Rule& rule, double value, bool healthy, Findings& findings) {
  Watch& watch = memory_.watches[std::string(rule.signal)];
  const bool begins = look(watch, value, memory_.step, options_.guard_control_steps, healthy, rule, thresholds_);
  const double end = watch.band ? band_end(*watch.band, rule, thresholds_) : kUnknown;
  const std::string says = watch.alarm ? in_words(rule, watch.value, end) : "";
  const bool asks = rule.stops && watch.alarm && reward_has_risen();
  if (begins && !asks) {
    note_alarm(memory_, {std::string(rule.signal), watch.since, value, end, false});
    findings.news.push_back(says);
  }
  if (rule.stops) stop(rule.signal, watch.value, end, says, asks, findings);
}

void Guard::look_at_parts(const algorithms::Metrics& row, Findings& findings) {
  constexpr std::string_view kBefore = "rewards/", kBehind = "/mean";
  std::string up, down;
  for (const algorithms::Metric& metric : row) {
    const std::string_view name = metric.name;
    if (!name.starts_with(kBefore) || !name.ends_with(kBehind) || name.size() <= kBefore.size() + kBehind.size())
      continue;
    const std::string part(name.substr(kBefore.size(), name.size() - kBefore.size() - kBehind.size()));
    const int64_t control = options_.guard_control_steps;
    Watch &rising = memory_.rising[part], &falling = memory_.falling[part];
    look(rising, metric.value, memory_.step, control, false, part_rule(Side::kHigh), thresholds_);
    look(falling, metric.value, memory_.step, control, false, part_rule(Side::kLow), thresholds_);
    if (rising.alarm) up = fmt::format("\"{}\" has risen to {:.3g}", part, rising.value);
    if (falling.alarm) down = fmt::format("\"{}\" has fallen to {:.3g}", part, falling.value);
  }
  const std::string says = fmt::format("the reward's parts diverge: {}, {}", up, down);
  warn(kParts, kUnknown, kUnknown, says, !up.empty() && !down.empty(), findings);
}

void Guard::look_at_distance(double estimate, double exact, Findings& findings) {
  const double kl = std::isfinite(exact) ? exact : estimate;
  if (std::isfinite(kl)) memory_.d = std::sqrt(std::max(0.0, kl));
  if (std::isfinite(estimate)) {
    const double z = spike(memory_.kl, estimate, thresholds_.kl_spike_floor, thresholds_.kl_spike_nats, thresholds_);
    warn(kKlSpike, estimate, thresholds_.kl_spike,
         fmt::format("the KL to the initial model has jumped to {:.3g} nats per completion, {:.1f} standard deviations "
                     "from the looks before",
                     estimate, z),
         std::abs(z) > thresholds_.kl_spike, findings);
  }
  if (!options_.kl_budget) return;
  double held = exact;
  if (!std::isfinite(held)) {
    if (!std::isfinite(estimate)) return;
    memory_.budget.push_back(estimate);
    const auto most = static_cast<size_t>(thresholds_.budget_looks);
    if (memory_.budget.size() > most) memory_.budget.erase(memory_.budget.begin());
    if (memory_.budget.size() < most) return;
    held = median(memory_.budget);
  }
  const bool over = held > *options_.kl_budget;
  const std::string says = fmt::format(
      "the KL to the initial model is {:.3g} nats per completion, above kl_budget {:.3g}", held, *options_.kl_budget);
  stop(kKlBudget, held, *options_.kl_budget, says, over, findings);
}

void Guard::look_at_gold(const GoldLook& look, Findings& findings) {
  if (!std::isfinite(look.gold)) return;
  std::vector<GoldLook>& looks = memory_.gold;
  looks.push_back(look);
  // The checkpoint that stands for the best held-out reward.
  double best = look.gold;
  for (const GoldLook& before : looks) best = std::max(best, before.gold);
  if (memory_.saved_clean && look.gold >= best && is_clean()) memory_.good = memory_.saved;

  const auto judge = [&](std::string_view signal, const GoldFall& fall, double warning, double value, double best,
                         const std::string& says) {
    const bool falls = fall.z > thresholds_.gold_stop;
    warn(signal, value, best, falls ? "" : says, fall.z > warning, findings);
    stop(signal, value, best, says, falls, findings);
  };
  const GoldFall fall = gold_fall(looks);
  judge(kGoldFalls, fall, thresholds_.gold_warning, fall.now, fall.best, in_words(fall, look.same_rows));
  GoldFall hole = growth_of_hole(looks);
  if (1 - hole.now < thresholds_.hole_least) hole.z = 0;
  judge(kHoleGrows, hole, thresholds_.hole_warning, 1 - hole.now, 1 - hole.best, hole_in_words(hole));

  const auto fit = fit_gold(looks, options_.guard_control_steps);
  const bool beyond = fit && fit->d_star && look.d > fit->d_star_interval.high;
  memory_.beyond_optimum = beyond ? memory_.beyond_optimum + 1 : 0;
  const bool over = memory_.beyond_optimum >= thresholds_.optimum_looks && fall.z > thresholds_.optimum_fall;
  const std::string says =
      !beyond ? ""
              : fmt::format(
                    "the distance from the initial model, {:.3g}, is beyond that at which the held-out reward "
                    "is best (d* {:.3g}, 95% interval {:.3g} to {:.3g}), and it has fallen since",
                    look.d, *fit->d_star, fit->d_star_interval.low, fit->d_star_interval.high);
  stop(kBeyondOptimum, look.d, beyond ? fit->d_star_interval.high : kUnknown, says, over, findings);
}

// Independent pieces of evidence. Where the held-out reward is measured, that is asked instead.
void Guard::look_for_agreement(Findings& findings) {
  std::set<std::string_view> families;
  for (const Rule& rule : thresholds_.rules)
    if (const auto found = memory_.watches.find(std::string(rule.signal));
        found != memory_.watches.end() && found->second.alarm)
      families.insert(rule.family);
  if (memory_.on.contains(std::string(kParts))) families.insert(part_rule(Side::kHigh).family);
  const bool agree = static_cast<int64_t>(families.size()) >= thresholds_.agreeing_families && memory_.gold.empty() &&
                     reward_has_risen();
  const std::string says = fmt::format(
      "the reward has risen from {:.3g} to {:.3g}, and {} kinds of signals say that it is not what was "
      "wanted: {}",
      memory_.first_reward, memory_.reward.value, families.size(), fmt::join(families, ", "));
  stop(kAgreement, static_cast<double>(families.size()), static_cast<double>(thresholds_.agreeing_families), says,
       agree, findings);
}

void Guard::note_reward(double reward) {
  if (!std::isfinite(reward)) return;
  if (std::isnan(memory_.first_reward)) memory_.first_reward = reward;
  if (static_cast<int64_t>(memory_.first_rewards.size()) < thresholds_.reward_looks)
    memory_.first_rewards.push_back(reward);
  if (!memory_.rewards.empty()) memory_.reward_moves += std::abs(reward - memory_.rewards.back());
  look(memory_.reward, reward, memory_.step, options_.guard_control_steps, true, reward_rule(), thresholds_);
  memory_.rewards.push_back(reward);
  if (static_cast<int64_t>(memory_.rewards.size()) > thresholds_.reward_looks)
    memory_.rewards.erase(memory_.rewards.begin());
}

bool Guard::reward_has_risen() const {
  const std::optional<Band>& band = memory_.reward.band;
  return band && median(memory_.rewards) > band->location + band->spread;
}

// Where the reward begins to rise within the control steps, their band reaches high: here the start of the run counts.
bool Guard::reward_has_gained() const {
  const int64_t looks = memory_.reward.looks;
  if (looks < 2 * thresholds_.reward_looks) return false;
  constexpr double kDeviation = 0.886;  // √π/2: two draws of a normal differ by 2/√π of its deviations on average
  const double start = median(memory_.first_rewards);
  const Rule rule = reward_rule();
  const double deviation = std::max({kDeviation * memory_.reward_moves / static_cast<double>(looks - 1), rule.floor,
                                     rule.relative_floor * std::abs(start)});
  return median(memory_.rewards) > start + thresholds_.reward_gain * deviation;
}

bool Guard::is_clean() const {
  const auto quiet = [](const auto& entry) { return !entry.second.alarm && entry.second.beyond == 0; };
  return memory_.on.empty() && memory_.stopping.empty() && memory_.broken == 0 &&
         std::all_of(memory_.watches.begin(), memory_.watches.end(), quiet);
}

std::vector<std::string> Guard::alarms() const {
  std::set<std::string> names(memory_.on.begin(), memory_.on.end());
  names.insert(memory_.stopping.begin(), memory_.stopping.end());
  for (const auto& [signal, watch] : memory_.watches)
    if (watch.alarm) names.insert(signal);
  return {names.begin(), names.end()};
}

Verdict Guard::verdict(const Findings& findings) {
  ++memory_.looks;
  const bool acts = options_.guard != "warn";
  std::vector<std::string> sentences;
  for (const Findings::Stop& stop : findings.stops)
    if (acts || stop.is_new)
      sentences.push_back(fmt::format("{}{}.", acts ? "" : "the guard would stop here: ", stop.sentence));
  if (!findings.skip.empty()) sentences.push_back(findings.skip + ".");
  for (const std::string& news : findings.news) sentences.push_back(news + ".");
  for (std::string& sentence : sentences)
    if (sentence[0] >= 'a' && sentence[0] <= 'z') sentence[0] = static_cast<char>(sentence[0] - 'a' + 'A');
  Verdict verdict{Answer::kProceed, fmt::format("{}", fmt::join(sentences, " ")), alarms()};
  if (acts && !findings.skip.empty()) verdict.answer = Answer::kSkip;
  if (acts && !findings.stops.empty()) verdict.answer = Answer::kStop;
  return verdict;
}

Verdict Guard::inspect_rollouts(int64_t step, const algorithms::Metrics& signals, const algorithms::Metrics& step_row) {
  if (off()) return {};
  Findings findings;
  memory_.step = step;
  const double reward = number(step_row, "reward");
  note_reward(reward);
  look_at_distance(number(signals, "guard/kl"), number(signals, "guard/kl_exact"), findings);
  const bool gained = reward_has_risen() || reward_has_gained();
  const bool at_best =
      gold_is_at_its_best(memory_.gold, options_.guard_control_steps, thresholds_.gold_gain, thresholds_.gold_loss);
  for (const Rule& rule : thresholds_.rules) {
    if (rule.preference) continue;
    const bool ours = rule.metric.starts_with("guard/");
    const bool healthy = (rule.gain_heals && gained) || (rule.gold_heals && at_best);
    look_at(rule, number(ours ? signals : step_row, rule.metric), healthy, findings);
  }
  look_at_parts(step_row, findings);
  const double kl = number(signals, "guard/kl_exact");
  look_at_gold({step, std::isfinite(kl) || std::isfinite(number(signals, "guard/kl")) ? memory_.d : kUnknown,
                number(signals, "gold"), number(signals, "gold/standard_error"), reward,
                number(signals, "guard/paid_wrong"), number(signals, "guard/paid_wrong_error")},
               findings);
  look_for_agreement(findings);
  return verdict(findings);
}

Verdict Guard::inspect_update(int64_t step, const UpdateNumbers& numbers) {
  if (off()) return {};
  Findings findings;
  memory_.step = step;
  memory_.log_ratio = numbers.max_log_ratio;
  const bool finite = std::isfinite(numbers.loss) && std::isfinite(numbers.grad_norm);
  const bool gap = !(numbers.max_gap == 0);
  memory_.broken = finite && !gap ? 0 : memory_.broken + 1;
  const std::string broken =
      finite ? fmt::format("the trainer's log-probabilities differ from the sampler's by {:.3g} nats", numbers.max_gap)
             : fmt::format("the loss is {} and the gradient's norm {}", numbers.loss, numbers.grad_norm);
  warn(kNotFinite, numbers.loss, kUnknown, "", !finite, findings);
  warn(kGap, numbers.max_gap, 0, "", gap, findings);
  const bool too_often = memory_.broken >= thresholds_.broken_steps;
  const std::string often = fmt::format("{}, in {} steps running", broken, memory_.broken);
  const auto times = static_cast<double>(memory_.broken), most = static_cast<double>(thresholds_.broken_steps);
  stop(kNotFinite, times, most, often, too_often && !finite, findings);
  stop(kGap, times, most, often, too_often && finite, findings);
  if (memory_.broken > 0) {
    ++memory_.skipped;
    if (!too_often) findings.skip = fmt::format("Step {} is skipped: {}", step, broken);
    return verdict(findings);
  }
  // A step whose groups all lack spread has no gradient to compare.
  const double norm = numbers.grad_norm > 0 ? numbers.grad_norm : kUnknown;
  const double z = spike(memory_.gradient, norm, thresholds_.gradient_spike_floor, 0, thresholds_);
  warn(kGradientSpike, norm, thresholds_.gradient_spike,
       fmt::format("the gradient's norm is {:.3g}, {:.1f} standard deviations above the steps before", norm, z),
       z > thresholds_.gradient_spike, findings);
  warn(kLogRatio, numbers.max_log_ratio, thresholds_.log_ratio,
       fmt::format("a token's probability has moved by {:.3g} nats from the policy that sampled it",
                   numbers.max_log_ratio),
       numbers.max_log_ratio > thresholds_.log_ratio, findings);
  return verdict(findings);
}

Verdict Guard::inspect_preference(int64_t step, const PreferenceNumbers& numbers) {
  if (off()) return {};
  Findings findings;
  memory_.step = step;
  note_reward(numbers.accuracy);
  for (const Rule& rule : thresholds_.rules) {
    if (!rule.preference) continue;
    if (rule.metric != "logps/chosen") {
      look_at(rule, numbers.margin_length_correlation, false, findings);
      continue;
    }
    look(memory_.rejected, numbers.rejected_logps, step, options_.guard_control_steps, false, rule, thresholds_);
    look_at(rule, numbers.chosen_logps, memory_.rejected.beyond == 0, findings);
  }
  // Another trainer's rows have a held-out reward and nothing of the pairs that it was taken on.
  const double of_step = std::isfinite(numbers.accuracy) ? numbers.accuracy : numbers.margin;
  GoldLook gold{step, kUnknown, numbers.gold, numbers.gold_error, of_step};
  gold.same_rows = std::isfinite(numbers.gold_proxy);
  if (gold.same_rows) gold.proxy = numbers.gold_proxy;
  look_at_gold(gold, findings);
  return verdict(findings);
}

void Guard::note_saved(int64_t step) {
  memory_.saved = step;
  memory_.saved_clean = is_clean();
  double best = -std::numeric_limits<double>::infinity();
  for (const GoldLook& look : memory_.gold) best = std::max(best, look.gold);
  const GoldLook* last = memory_.gold.empty() ? nullptr : &memory_.gold.back();
  const bool at_best = !last || last->gold + (std::isfinite(last->error) ? last->error : 0) >= best;
  if (memory_.saved_clean && at_best) memory_.good = step;
}

bool Guard::wants_checkpoint(int64_t step) const {
  if (off() || step <= 0) return false;
  int64_t wanted = std::max<int64_t>(options_.guard_control_steps, 1);
  while (wanted < step && wanted <= step / 2) wanted *= 2;
  return wanted == step && is_clean();
}

algorithms::Metrics Guard::metrics() const {
  if (off()) return {};
  return {{"guard/alarms", static_cast<double>(alarms().size())},
          {"guard/d", memory_.d},
          {"guard/max_log_ratio", memory_.log_ratio}};
}

}  // namespace candor::guard
