// Every number that the guard's decisions hang on, in one table (docs/guard.md says it in words). Drills may set them;
// a run does not.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace candor::guard {

enum class Side { kHigh, kLow };  // the end of the band beyond which a look is wrong

// What a signal that has a control band is held to.
struct Rule {
  std::string_view signal = {};  // its name in verdicts, summaries and docs/guard.md
  std::string_view metric = {};  // the column of metrics.jsonl that it reads
  std::string_view family = {};  // signals of one family are one piece of evidence
  std::string_view says = {};    // what an alarm means, in words
  Side side = Side::kHigh;       // of the band
  double floor = 0;              // least spread of the band, in the metric's unit
  double relative_floor = 0;     // and as a share of the band's location
  double least = 0;              // an alarm needs a metric beyond this as well (kLow: below it)
  bool stops = false;            // ends the run by itself, where the reward has risen
  bool gain_heals = false;       // no alarm while the reward has risen: collapse onto right answers is learning
  bool preference = false;       // of recipes on pairs; the others are of recipes that sample
  bool gold_heals = false;       // no alarm while the held-out reward has risen and is at its best
};

struct Thresholds {
  std::vector<Rule> rules;  // default_rules()

  double band_width = 4;            // a band is location ± band_width · spread
  int64_t band_looks = 3;           // looks running beyond the band until the alarm, and within it until its end
  int64_t least_control_looks = 3;  // a band is not learnt from fewer
  double few_looks = 3;             // the spread of n control looks counts (1 + few_looks / n) times
  int64_t reward_looks = 3;         // the reward has risen where the median of so many looks is above its band's
                                    // location by more than its spread
  double reward_gain = 2;           // or, for gain_heals, above that of the first ones by more deviations of a look
  int64_t agreeing_families = 3;    // so many in alarm at once stop the run, where the reward has risen and the
                                    // held-out reward is not measured
  int64_t spike_window = 32;        // looks that a spike stands out from
  int64_t spike_least = 8;          // of which so many must be there
  double kl_spike = 4;              // standard deviations
  double gradient_spike = 6;
  double kl_spike_floor = 0.2;  // least deviation as a share of the window's mean
  double kl_spike_nats = 0.1;   // and in nats per completion
  double gradient_spike_floor = 1.5;
  double log_ratio = 10;     // nats; a token further from the old policy than this
  int64_t broken_steps = 3;  // steps running that are not finite, or have a gap, until the run stops
  int64_t budget_looks = 3;  // estimates of the KL (k1) whose median is held against the budget

  double gold_warning = 4;  // z of the fall of the held-out reward from its best looks while the reward rose
  double gold_stop = 5;
  double hole_warning = 4.5;  // z of the growth of the share that is paid for in error; it stops as gold_stop says
  double hole_least = 0.08;   // a share paid for in error below this is none
  double gold_gain = 2;       // standard errors by which a held-out reward that heals has risen,
  double gold_loss = 2;       // and by less than which it is below its best
  double optimum_fall = 2;    // z of the fall that must go with a distance beyond d*
  int64_t optimum_looks = 2;  // looks running beyond the upper bound of d*
};

// A reward's part that rises beyond its band while another falls beyond its own.
inline constexpr std::string_view kParts = "reward_parts";
// Signals without a band.
inline constexpr std::string_view kNotFinite = "not_finite", kGap = "logprob_gap", kGradientSpike = "gradient_spike",
                                  kLogRatio = "log_ratio", kKlSpike = "kl_spike", kKlBudget = "kl_budget",
                                  kGoldFalls = "gold_falls", kHoleGrows = "hole_grows",
                                  kBeyondOptimum = "beyond_optimum", kAgreement = "agreement";

std::vector<Rule> default_rules();
// Of one part of the reward.
Rule part_rule(Side side);
Thresholds default_thresholds();

}  // namespace candor::guard
