// The run so far, for summary.json, the terminal and the page.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "guard/guard.h"

namespace candor::guard {

namespace {

using files::Json;

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

std::string course(std::string_view what, double from, double to) {
  const std::string_view verb = to > from ? "rose" : to < from ? "fell" : "stayed";
  return from == to ? fmt::format("{} stayed at {:.3g}", what, to)
                    : fmt::format("{} {} from {:.3g} to {:.3g}", what, verb, from, to);
}

// "The reward rose from … to …, the held-out reward rose from … to …".
std::string courses(const Memory& memory) {
  std::string text;
  if (memory.reward.looks > 0) text = course("the reward", memory.first_reward, median(memory.rewards));
  if (memory.gold.size() > 1)
    text += fmt::format(
        "{}{}", text.empty() ? "" : ", ",
        course(memory.gold.back().same_rows ? "the held-out reward of what the policy prefers" : "the held-out reward",
               memory.gold.front().gold, memory.gold.back().gold));
  if (!text.empty()) text[0] = 'T';
  return text;
}

std::string sentence(const Memory& memory, const std::string& verdict) {
  if (memory.looks == 0) return "The guard has not looked at a step yet.";
  const std::string course = courses(memory);
  const std::string opening = course.empty() ? "" : course + "; ";
  std::set<std::string> names;
  for (const Alarm& alarm : memory.alarms) names.insert(alarm.signal);
  if (verdict == "stopped")
    for (const Alarm& alarm : memory.alarms)
      if (alarm.stop)
        return fmt::format("{}at step {} the guard asked to stop, for {}{}.", opening, alarm.step, alarm.signal,
                           memory.good > 0 ? fmt::format("; the last good checkpoint is of step {}", memory.good) : "");
  if (verdict == "warned")
    return fmt::format("{}{} went beyond what is usual for this run, first at step {}.", opening,
                       fmt::join(names, ", "), memory.alarms.front().step);
  if (memory.gold.size() > 1) return fmt::format("{}no signal went beyond its band.", opening);
  return fmt::format(
      "{}no signal went beyond its band. Whether what was wanted rose as well only a held-out reward can tell.",
      opening);
}

}  // namespace

Json guard_summary(const Guard& guard) {
  const Memory& memory = guard.memory();
  std::string verdict = "healthy";
  Json alarms = Json::array();
  for (const Alarm& alarm : memory.alarms) {
    verdict = alarm.stop || verdict == "stopped" ? "stopped" : "warned";
    alarms.push_back({{"signal", alarm.signal},
                      {"step", alarm.step},
                      {"value", number(alarm.value)},
                      {"band", number(alarm.band)},
                      {"stop", alarm.stop}});
  }
  if (memory.skipped > 0 && verdict == "healthy") verdict = "warned";
  Json summary = {{"verdict", verdict}, {"sentence", sentence(memory, verdict)}};
  summary["alarms"] = std::move(alarms);
  if (memory.alarms_left_out > 0) summary["alarms_left_out"] = memory.alarms_left_out;
  summary["good_checkpoint"] = memory.good;
  summary["skipped_steps"] = memory.skipped;
  summary["fit"] = nullptr;
  if (const auto fit = fit_gold(memory.gold, guard.options().guard_control_steps)) {
    Json described = {{"alpha", number(fit->alpha)}, {"beta", number(fit->beta)}};
    described["d_star"] = fit->d_star ? number(*fit->d_star) : Json();
    described["d_star_interval"] =
        fit->d_star ? Json::array({number(fit->d_star_interval.low), number(fit->d_star_interval.high)}) : Json();
    described["initial"] = number(initial_gold(memory.gold, guard.options().guard_control_steps));
    described["looks"] = fit->looks;
    summary["fit"] = std::move(described);
  }
  return summary;
}

}  // namespace candor::guard
