// The held-out reward against the one that is trained on. Pure.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "guard/overoptimization.h"

namespace candor::guard {

// One look at the held-out reward, before the step that bears its number.
struct GoldLook {
  int64_t step = 0;
  double d = 0;      // √KL(policy || initial model), KL in nats per completion; NaN: not known
  double gold = 0;   // mean over completions
  double error = 0;  // its standard error; NaN: not known
  double proxy = 0;  // mean of the reward that is trained on, over the same completions
  // Share of completions that the proxy pays for and the held-out reward rejects, and its standard error; NaN: not
  // known.
  double paid_wrong = std::numeric_limits<double>::quiet_NaN();
  double paid_wrong_error = std::numeric_limits<double>::quiet_NaN();
  // Of a recipe on pairs: every look is at the same held-out ones. `gold` is the held-out reward of the sides that the
  // policy prefers over the others, `proxy` its own reward of them.
  bool same_rows = false;
};

// How far the newest looks have fallen from the best ones while the proxy rose.
struct GoldFall {
  double z = 0;                          // of the fall, in standard errors; 0: nothing fell, or the proxy did not rise
  int64_t looks = 0;                     // that were averaged on either side
  int64_t best_step = 0;                 // the last of the best ones
  double best = 0, now = 0;              // the held-out reward
  double best_proxy = 0, now_proxy = 0;  // the proxy
};

// Compares the mean of the newest m looks with the best mean of m looks running before them, for m = 2, 4, 8 and 16;
// the newest two must lie below the best mean both. Returns the m with the largest z. The error of one look is the root
// mean square of those given (where none is: 1.4826 / √2 times the median distance of neighbours). Looks at the same
// rows share their error, which no mean over looks makes smaller: there m is 1.
GoldFall gold_fall(const std::vector<GoldLook>& looks);

// The same of the share of completions that are not paid for in error, 1 - paid_wrong: it falls while the held-out
// reward still stands, where a policy turns from what is right to what is only paid for. Looks without it do not count.
GoldFall growth_of_hole(const std::vector<GoldLook>& looks);

// The held-out reward of the initial model: the mean of the looks up to `control_steps`, at least of the first. NaN of
// none.
double initial_gold(const std::vector<GoldLook>& looks, int64_t control_steps);

// Whether the held-out reward has risen and is at its best: the mean of the newest two looks is more than `gain`
// standard errors above initial_gold, and less than `loss` below the best two running. What shows beside it then is no
// sign that something else is learnt. False with fewer than three looks.
bool gold_is_at_its_best(const std::vector<GoldLook>& looks, int64_t control_steps, double gain, double loss);

// The law of reinforcement learning on the looks whose d is known, counted from initial_gold. Nothing where the fit
// gives nothing (overoptimization.h).
std::optional<OveroptimizationFit> fit_gold(const std::vector<GoldLook>& looks, int64_t control_steps);

}  // namespace candor::guard
