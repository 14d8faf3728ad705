#include "guard/thresholds.h"

#include <limits>

namespace candor::guard {

std::vector<Rule> default_rules() {
  constexpr double kAny = -std::numeric_limits<double>::infinity();  // of kHigh; no kLow signal takes any
  constexpr Side kHigh = Side::kHigh, kLow = Side::kLow;
  return {
      // signal, metric, family, says, side, floor, relative floor, least, stops, gain heals, preference, gold heals
      {"length_correlation", "guard/length_correlation", "length", "the reward goes with the length of the completion",
       kHigh, 0.1, 0, 0.3, false, false, false, true},
      {"length_drift", "completions/mean_length", "length", "completions have become longer", kHigh, 2, 0.1, kAny,
       false, false, false, true},
      {"truncated_share", "completions/clipped_ratio", "truncation", "more completions run into the length limit",
       kHigh, 0.05, 0, 0.15, false, false, false, true},
      {"distinct_2", "guard/distinct_2", "repetition", "completions repeat their pairs of tokens", kLow, 0.03, 0, 0.9,
       false, false, false, true},
      {"compression_ratio", "guard/compression_ratio", "repetition", "completions compress better than they did", kHigh,
       0.05, 0.05, 1.5, false, false, false, true},
      {"repeated_ngram", "guard/repeated_ngram", "repetition", "completions repeat long stretches of themselves", kHigh,
       0.05, 0, 0.3, false, false, false, true},
      {"hollow_format", "guard/hollow_format", "format", "more completions have the form and lack the substance", kHigh,
       0.05, 0, 0.15, false, false, false},
      {"verifier_hole", "guard/paid_wrong", "verifier", "the reward pays for answers that the held-out reward rejects",
       kHigh, 0.05, 0, 0.15, true, false, false},
      {"gold_correlation", "guard/gold_correlation", "verifier",
       "the reward no longer tells the completions apart that the held-out reward does", kLow, 0.1, 0, 0.3, false,
       false},
      {"ensemble_disagreement", "guard/ensemble_disagreement", "uncertainty",
       "the reward models disagree about the completions", kHigh, 0, 0.1, kAny, false, false, false},
      {"unique_completions", "guard/unique_completions", "collapse", "the completions of a prompt have become alike",
       kLow, 0.05, 0, 0.7, false, true, false, true},
      {"entropy", "guard/entropy", "collapse", "the policy has become nearly certain of every token", kLow, 0.02, 0.1,
       0.5, false, true, false, true},
      {"flat_groups", "frac_reward_zero_std", "collapse", "most groups no longer have any spread of reward", kHigh, 0.1,
       0, 0.8, false, true, false, true},
      {"likelihood_displacement", "logps/chosen", "displacement",
       "the chosen completions have become less likely, as the rejected ones have", kLow, 0, 0.05, 0, false, false,
       true},
      {"margin_length", "guard/margin_length_correlation", "length", "the margin goes with the difference in length",
       kHigh, 0.1, 0, 0.4, false, false, true},
  };
}

Rule part_rule(Side side) {
  return {.signal = kParts,
          .family = "parts",
          .side = side,
          .floor = 0.03,
          .relative_floor = 0.05,
          .least =
              side == Side::kHigh ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity()};
}

Thresholds default_thresholds() {
  Thresholds thresholds;
  thresholds.rules = default_rules();
  return thresholds;
}

}  // namespace candor::guard
