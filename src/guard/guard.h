// The guard of a run: asks at every step whether what goes up is what was wanted. It only looks, and answers
// Proceed, Skip or Stop with its reason; the recipe acts. docs/guard.md says what each signal means.
//
// A value: copying it copies its memory, and everything it decides follows from the numbers that it was given, in
// order. "warn" remembers what "stop" remembers.
#pragma once

#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms/metrics.h"
#include "base/result.h"
#include "files/json_file.h"
#include "guard/memory.h"
#include "guard/options.h"
#include "guard/thresholds.h"
#include "guard/verdict.h"

namespace candor::guard {

// Of the step that is about to be taken, before the optimizer moves anything.
struct UpdateNumbers {
  double loss = 0, grad_norm = 0;
  double max_log_ratio = std::nan("");  // largest |log ratio| of a trained token; NaN: not known
  double max_gap = 0;                   // between sampler and trainer; must be 0
};

// Of a step of a preference recipe, means over its rows; NaN where a recipe has none.
struct PreferenceNumbers {
  double chosen_logps = std::nan(""), rejected_logps = std::nan("");
  double margin = std::nan(""), accuracy = std::nan("");
  double chosen_length = std::nan(""), rejected_length = std::nan("");
  double margin_length_correlation = std::nan("");
  // Of held-out pairs, the same in every step that has them: by how much the held-out reward of the sides that the
  // policy prefers is above that of the others, the standard error of that, and the same by the policy's own reward.
  double gold = std::nan(""), gold_error = std::nan(""), gold_proxy = std::nan("");
};

using StoredBands = std::map<std::string, Band>;  // by signal

class Guard {
 public:
  explicit Guard(Options options = {}, Thresholds thresholds = default_thresholds(), const StoredBands& bands = {});

  // signals: rollout_signals of this generation. Of step_row the guard reads reward, frac_reward_zero_std,
  // rewards/NAME/mean, completions/mean_length and completions/clipped_ratio.
  Verdict inspect_rollouts(int64_t step, const algorithms::Metrics& signals, const algorithms::Metrics& step_row);
  Verdict inspect_update(int64_t step, const UpdateNumbers& numbers);
  Verdict inspect_preference(int64_t step, const PreferenceNumbers& numbers);

  void note_saved(int64_t step);  // a checkpoint of this step is written
  // The newest saved step before anything was wrong, and with a held-out reward within a standard error of its best;
  // 0: none. It never moves to a checkpoint that is neither this one nor the newest.
  int64_t good_checkpoint() const { return memory_.good; }

  // Whether a run wants a checkpoint of this step, beside those that its recipe asks for: after the control steps, and
  // whenever the run is twice as long as at the one before, while nothing is wrong. A Stop goes back to one of them.
  bool wants_checkpoint(int64_t step) const;

  // Of the last look: guard/alarms (signals in alarm), guard/d, guard/max_log_ratio. Nothing where the guard is off.
  algorithms::Metrics metrics() const;

  bool off() const { return options_.guard == "off"; }
  const Options& options() const { return options_; }
  const Thresholds& thresholds() const { return thresholds_; }
  const Memory& memory() const { return memory_; }
  void remember(Memory memory) { memory_ = std::move(memory); }

  std::vector<std::string> alarms() const;  // signals in alarm now, in the order of their names

 private:
  struct Findings;
  void warn(std::string_view signal, double value, double threshold, std::string_view says, bool wrong,
            Findings& findings);
  void stop(std::string_view signal, double value, double threshold, const std::string& says, bool asks,
            Findings& findings);
  void look_at(const Rule& rule, double value, bool healthy, Findings& findings);
  void look_at_parts(const algorithms::Metrics& row, Findings& findings);
  void look_at_distance(double estimate, double exact, Findings& findings);
  void look_at_gold(const GoldLook& look, Findings& findings);
  void look_for_agreement(Findings& findings);
  void note_reward(double reward);
  bool reward_has_risen() const;
  bool reward_has_gained() const;
  bool is_clean() const;
  Verdict verdict(const Findings& findings);

  Options options_;
  Thresholds thresholds_;
  Memory memory_;
};

// All that it remembers, exactly. Error: not what guard_json wrote.
files::Json guard_json(const Guard& guard);
Result<Guard> guard_from_json(const files::Json& json, Options options, Thresholds thresholds = default_thresholds());

// The whole run so far in a sentence, and the numbers for summary.json: {"verdict": healthy | warned | stopped,
// "sentence", "alarms": [{signal, step, value, band, stop}], "good_checkpoint", "fit": {alpha, beta, d_star,
// d_star_interval} or null}.
files::Json guard_summary(const Guard& guard);

}  // namespace candor::guard
