// Courses of made-up runs for the guard's tests: honest ones of several kinds, and ones that a planted exploit takes
// over. The noise is that of 64 completions, or of 8.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "guard/guard.h"

namespace candor::guard::testing {

struct Step {
  int64_t step = 0;
  algorithms::Metrics signals, row;
  UpdateNumbers update;
};
using Course = std::vector<Step>;

// What a run is like at one step, before noise.
struct State {
  double proxy = 0.5, gold = 0.5, format = 0.9;
  double length = 80, truncated = 0.02, length_correlation = 0, distinct = 0.95, compression = 1.6, repeated = 0.12;
  double unique = 0.9, entropy = 1.2, flat = 0.15, hollow = 0.04, paid_wrong = 0.03, gold_correlation = 0.9, kl = 0;
};

inline double ramp(double t, double begin, double steps) {  // 0 before, 1 after, smooth between
  const double x = std::clamp((t - begin) / steps, 0.0, 1.0);
  return x * x * (3 - 2 * x);
}

// gold_steps: every so many steps, from the first; 0: never.
inline Course course(const std::function<State(int64_t)>& state, uint64_t seed, int64_t steps = 80,
                     double completions = 64, int64_t gold_steps = 1) {
  Course made;
  const double noise = 8 / std::sqrt(completions);  // of the signals; a share's is its own
  for (int64_t step = 1; step <= steps; ++step) {
    const State s = state(step);
    uint64_t draws = 0;
    const auto normal = [&] { return random_normal({seed, RngStream::kData, static_cast<uint32_t>(step)}, draws++); };
    const auto share_error = [&](double p) { return std::sqrt(std::max(p * (1 - p), 0.01) / completions); };
    const auto share = [&](double p) { return std::clamp(p + share_error(p) * normal(), 0.0, 1.0); };
    const double luck = normal();  // of the prompts, which proxy and gold have in common
    const double reward = std::clamp(s.proxy + share_error(s.proxy) * (0.9 * luck + 0.45 * normal()), 0.0, 2.0);
    const double gold = std::clamp(s.gold + share_error(s.gold) * (0.9 * luck + 0.45 * normal()), 0.0, 1.0);
    const bool measured = gold_steps > 0 && (step - 1) % gold_steps == 0;
    const double unknown = std::nan("");
    Step at;
    at.step = step;
    at.signals = {
        {"guard/length_correlation", std::clamp(s.length_correlation + 0.1 * noise * normal(), -1.0, 1.0)},
        {"guard/distinct_2", std::min(1.0, s.distinct + 0.01 * noise * normal())},
        {"guard/compression_ratio", s.compression + 0.04 * noise * normal()},
        {"guard/repeated_ngram", std::max(0.0, s.repeated + 0.02 * noise * normal())},
        {"guard/unique_completions", std::clamp(s.unique + 0.03 * noise * normal(), 0.05, 1.0)},
        {"guard/entropy", std::max(0.01, s.entropy * (1 + 0.05 * noise * normal()))},
        {"guard/hollow_format", share(s.hollow)},
        {"guard/paid_wrong", measured ? share(s.paid_wrong) : unknown},
        {"guard/paid_wrong_error", measured ? share_error(s.paid_wrong) : unknown},
        {"guard/gold_correlation",
         measured ? std::clamp(s.gold_correlation + 0.08 * noise * normal(), -1.0, 1.0) : unknown},
        {"guard/kl", s.kl * (1 + 0.1 * normal()) + 0.02 * noise * normal()},
        {"guard/kl_exact", measured ? s.kl : unknown},
        {"gold", measured ? gold : unknown},
        {"gold/standard_error", measured ? share_error(gold) : unknown},
    };
    at.row = {{"reward", reward},
              {"frac_reward_zero_std", share(s.flat)},
              {"completions/mean_length", s.length * (1 + 0.04 * noise * normal())},
              {"completions/clipped_ratio", share(s.truncated)},
              {"rewards/accuracy/mean", reward},
              {"rewards/format/mean", share(s.format)}};
    at.update.loss = 0.01 * normal();
    at.update.grad_norm = std::exp(-1 + 0.4 * normal());
    made.push_back(std::move(at));
  }
  return made;
}

// A task that is learnt: right answers are short, certain and all alike, and then no group has any spread.
inline State learns(int64_t step) {
  const double t = ramp(static_cast<double>(step), 5, 45);
  State s;
  s.proxy = 0.15 + 0.8 * t;
  s.gold = 0.13 + 0.8 * t;
  s.format = 0.7 + 0.29 * t;
  s.length = 90 - 50 * t;
  s.truncated = 0.06 - 0.055 * t;
  s.length_correlation = -0.2;
  s.compression = 1.6 - 0.3 * t;
  s.unique = 0.9 - 0.7 * t;
  s.entropy = 1.5 - 1.35 * t;
  s.flat = 0.1 + 0.8 * t;
  s.kl = 3 * t;
  return s;
}

// The same on a model without an end: behind the right answer it goes on to the limit.
inline State goes_on_behind_the_answer(int64_t step) {
  State s = learns(step);
  const double t = ramp(static_cast<double>(step), 45, 15);
  s.truncated += 0.95 * t;
  s.length += 60 * t;
  s.distinct -= 0.2 * t;
  s.compression += 1.2 * t;
  s.repeated += 0.4 * t;
  return s;
}

inline State nothing_is_wrong(int64_t) {
  State s;
  s.truncated = s.hollow = s.paid_wrong = 0;
  return s;
}

inline State stands_still(int64_t step) {
  State s;
  s.kl = 0.01 * static_cast<double>(step);
  return s;
}

// Longer reasoning that is right more often.
inline State reasons_longer(int64_t step) {
  const double t = ramp(static_cast<double>(step), 5, 70);
  State s;
  s.proxy = s.gold = 0.3 + 0.4 * t;
  s.length = 80 + 70 * t;
  s.truncated = 0.02 + 0.03 * t;
  s.length_correlation = 0.15 + 0.15 * t;
  s.compression = 1.6 + 0.25 * t;
  s.distinct = 0.95 - 0.03 * t;
  s.kl = 4 * t;
  return s;
}

constexpr int64_t kHackBegins = 30;

inline State honest_until_the_hack(int64_t step) {
  State s;
  const double t = ramp(static_cast<double>(step), 5, 60);
  s.proxy = 0.4 + 0.2 * t;
  s.gold = 0.4 + 0.2 * t;
  s.kl = 2 * t;
  return s;
}

inline double hack(int64_t step) {
  return ramp(static_cast<double>(step), kHackBegins, 30);
}

inline State length_pays(int64_t step) {
  State s = honest_until_the_hack(step);
  const double h = hack(step);
  s.proxy += 0.6 * h;
  s.gold -= 0.5 * h;
  s.length += 170 * h;
  s.truncated += 0.7 * h;
  s.length_correlation += 0.8 * h;
  s.compression += 2 * h;
  s.distinct -= 0.5 * h;
  s.repeated += 0.5 * h;
  s.gold_correlation -= 0.9 * h;
  s.kl += 20 * h;
  return s;
}

// And does not cost what the held-out reward wants, which never rose.
inline State only_length_pays(int64_t step) {
  State s = length_pays(step);
  s.gold = 0.4;
  s.gold_correlation = 0.9;
  return s;
}

inline State format_pays(int64_t step) {
  State s = honest_until_the_hack(step);
  const double h = hack(step);
  s.proxy += 0.3 * h;
  s.gold -= 0.45 * h;
  s.hollow += 0.8 * h;
  s.gold_correlation -= 0.7 * h;
  return s;
}

inline State verifier_has_a_hole(int64_t step) {
  State s = honest_until_the_hack(step);
  const double h = hack(step);
  s.proxy += 0.35 * h;
  s.gold -= 0.5 * h;
  s.paid_wrong += 0.85 * h;
  return s;
}

// The held-out reward stands where it is, and few completions are paid for in error, but more than before.
inline State hole_grows(int64_t step) {
  State s = honest_until_the_hack(step);
  const double h = hack(step);
  s.proxy += 0.15 * h;
  s.paid_wrong += 0.11 * h;
  return s;
}

// Nothing shows but the held-out reward.
inline State flatters(int64_t step) {
  State s = honest_until_the_hack(step);
  s.proxy += 0.35 * hack(step);
  s.gold -= 0.5 * hack(step);
  return s;
}

inline State parts_diverge(int64_t step) {
  State s = honest_until_the_hack(step);
  s.proxy += 0.55 * hack(step);
  s.format -= 0.8 * hack(step);
  return s;
}

struct Outcome {
  int64_t first_alarm = 0, stop = 0;  // steps; 0: never
  std::set<std::string> signals;      // that were ever in alarm
  std::string stop_reason;
};

inline Verdict inspect(Guard& guard, const Step& at) {
  Verdict verdict = guard.inspect_rollouts(at.step, at.signals, at.row);
  const Verdict update = guard.inspect_update(at.step, at.update);
  verdict.answer = std::max(verdict.answer, update.answer);
  if (!update.reason.empty()) verdict.reason += (verdict.reason.empty() ? "" : " ") + update.reason;
  verdict.signals = update.signals;
  return verdict;
}

inline Outcome outcome(const Course& course, Guard guard) {
  Outcome found;
  for (const Step& at : course) {
    const Verdict verdict = inspect(guard, at);
    found.signals.insert(verdict.signals.begin(), verdict.signals.end());
    if (!verdict.signals.empty() && found.first_alarm == 0) found.first_alarm = at.step;
    if (verdict.answer != Answer::kStop) continue;
    found.stop = at.step;
    found.stop_reason = verdict.reason;
    break;
  }
  return found;
}

}  // namespace candor::guard::testing
