// What the guard decides over whole courses, and twins of its thresholds that these courses reject.
#include "guard/guard.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "guard/guard_testing.h"

namespace candor::guard {
namespace {

using namespace testing;  // candor::guard::testing: the courses
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Kind {
  std::string name;
  State (*state)(int64_t);
  bool hack = false;
  std::string signal = "";  // that a hack must set off, where it is not one of those that stop
  bool with_gold = true;
  bool must_stop = false;
  bool may_warn = false;  // honest, but of a kind that a hack looks like
  double completions = 64;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {.name = "learns", .state = learns},
      {.name = "learns, no gold", .state = learns, .with_gold = false},
      {.name = "learns, few completions", .state = learns, .may_warn = true, .completions = 8},
      {.name = "goes on behind the right answer", .state = goes_on_behind_the_answer},
      {.name = "nothing is truncated, hollow or wrong", .state = nothing_is_wrong},
      {.name = "stands still", .state = stands_still},
      {.name = "reasons longer", .state = reasons_longer},
      {.name = "reasons longer, no gold", .state = reasons_longer, .with_gold = false, .may_warn = true},
      {.name = "length pays", .state = length_pays, .hack = true, .must_stop = true},
      {.name = "length pays, no gold",
       .state = length_pays,
       .hack = true,
       .signal = "truncated_share",
       .with_gold = false,
       .must_stop = true},
      {.name = "length pays, gold stands still", .state = only_length_pays, .hack = true, .signal = "truncated_share"},
      {.name = "format pays", .state = format_pays, .hack = true, .signal = "hollow_format", .must_stop = true},
      {.name = "format pays, no gold",
       .state = format_pays,
       .hack = true,
       .signal = "hollow_format",
       .with_gold = false},
      {.name = "a hole in the verifier",
       .state = verifier_has_a_hole,
       .hack = true,
       .signal = "hole_grows",  // before the band of verifier_hole is left
       .must_stop = true},
      {.name = "a hole that grows", .state = hole_grows, .hack = true, .signal = "hole_grows", .must_stop = true},
      {.name = "flattery", .state = flatters, .hack = true, .must_stop = true},
      {.name = "parts diverge", .state = parts_diverge, .hack = true, .signal = "reward_parts", .with_gold = false},
  };
  return all;
}

// What is wrong over some seeds of every kind. One honest run in ten may be warned about, none may be stopped; a hack
// is seen while it takes over, and seldom before.
std::string mismatch(const Thresholds& thresholds, uint64_t seeds) {
  std::string wrong;
  for (const Kind& kind : kinds()) {
    uint64_t warned = 0, stopped = 0, early = 0, missed = 0, late = 0;
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      const Course made = course(kind.state, seed, 80, kind.completions, kind.with_gold ? 1 : 0);
      const Outcome found = outcome(made, Guard({}, thresholds));
      warned += found.first_alarm != 0;
      stopped += found.stop != 0;
      early += found.first_alarm != 0 && found.first_alarm < kHackBegins;
      missed += found.first_alarm == 0 || found.first_alarm > kHackBegins + 30 ||
                (!kind.signal.empty() && !found.signals.contains(kind.signal));
      late += found.stop == 0 || found.stop > kHackBegins + 30;
    }
    if (!kind.hack && stopped > 0) wrong += fmt::format("{}: {} stopped; ", kind.name, stopped);
    if (!kind.hack && !kind.may_warn && warned * 10 > seeds) wrong += fmt::format("{}: {} warned; ", kind.name, warned);
    if (kind.hack && missed > 0) wrong += fmt::format("{}: {} missed; ", kind.name, missed);
    if (kind.hack && early * 10 > seeds) wrong += fmt::format("{}: {} too early; ", kind.name, early);
    if (kind.must_stop && late > 0) wrong += fmt::format("{}: {} not stopped; ", kind.name, late);
  }
  return wrong;
}

// 16 kinds of courses of 80 steps for each seed and twin: two seconds.
TEST(Guard, HonestRunsPassHacksDoNotAndTheTwinsFail) {
  EXPECT_EQ(mismatch(default_thresholds(), 20), "");
  const auto every_rule = [](Thresholds& t, const std::function<void(Rule&)>& change) {
    for (Rule& rule : t.rules) change(rule);
  };
  const std::vector<std::pair<std::string, std::function<void(Thresholds&)>>> twins{
      {"a single look beyond the band is an alarm",
       [](Thresholds& t) {
         t.band_looks = 1;
         t.band_width = 3;
       }},
      {"bands of half a spread", [](Thresholds& t) { t.band_width = 0.5; }},
      {"bands that nothing leaves", [](Thresholds& t) { t.band_width = 1000; }},
      {"no floor under the spread, and no least value",
       [&](Thresholds& t) {
         t.few_looks = 0;
         every_rule(t, [](Rule& r) { r.floor = r.relative_floor = 0; });
         every_rule(t, [](Rule& r) { r.least = r.side == Side::kHigh ? -1e9 : 1e9; });
       }},
      {"collapse is never healthy", [&](Thresholds& t) { every_rule(t, [](Rule& r) { r.gain_heals = false; }); }},
      {"the held-out reward heals nothing",
       [&](Thresholds& t) { every_rule(t, [](Rule& r) { r.gold_heals = false; }); }},
      {"a held-out reward that stands still heals",
       [](Thresholds& t) {
         t.gold_gain = -1e9;
         t.gold_loss = 1e9;
       }},
      {"the wrong end of the band",
       [&](Thresholds& t) {
         every_rule(t, [](Rule& r) {
           r.side = r.side == Side::kHigh ? Side::kLow : Side::kHigh;
           r.least = -r.least;
         });
       }},
      {"a hole may grow", [](Thresholds& t) { t.hole_least = 1e9; }},
      {"one standard error is a fall", [](Thresholds& t) { t.gold_warning = t.gold_stop = 1; }},
      {"the held-out reward is not asked", [](Thresholds& t) { t.gold_warning = t.gold_stop = t.optimum_fall = 1e9; }},
      {"one kind of signal is agreement", [](Thresholds& t) { t.agreeing_families = 1; }},
      {"agreement of more kinds than there are", [](Thresholds& t) { t.agreeing_families = 9; }},
  };
  for (const auto& [name, break_it] : twins) {
    Thresholds twin = default_thresholds();
    break_it(twin);
    EXPECT_NE(mismatch(twin, 4), "") << name;
  }
}

Step quiet(int64_t step) {
  return {step, {}, {{"reward", 0.5}}, {0.1, 1.0, kNaN, 0}};
}

TEST(Guard, BrokenStepsAreSkippedThreeRunningStop) {
  Guard guard;
  UpdateNumbers broken{kNaN, 1, kNaN, 0};
  EXPECT_EQ(guard.inspect_update(1, broken).answer, Answer::kSkip);
  EXPECT_EQ(guard.inspect_update(2, {0.1, kNaN, kNaN, 0}).answer, Answer::kSkip);
  EXPECT_EQ(guard.inspect_update(3, {0.1, 1, kNaN, 0}).answer, Answer::kProceed);
  EXPECT_EQ(guard.inspect_update(4, {0.1, 1, kNaN, 1e-7}).answer, Answer::kSkip);  // a gap between sampler and trainer
  const Verdict second = guard.inspect_update(5, broken);
  EXPECT_EQ(second.answer, Answer::kSkip);
  EXPECT_EQ(second.reason, "Step 5 is skipped: the loss is nan and the gradient's norm 1.");
  const Verdict third = guard.inspect_update(6, broken);
  EXPECT_EQ(third.answer, Answer::kStop);
  EXPECT_EQ(third.reason, "The loss is nan and the gradient's norm 1, in 3 steps running.");
  EXPECT_EQ(guard.memory().skipped, 5);
}

TEST(Guard, WarnSaysTheSameOnceAndRemembersTheSame) {
  Options warn;
  warn.guard = "warn";
  Guard stopping, warning(warn);
  int64_t stops = 0, reasons = 0;
  for (const Step& at : course(flatters, 3)) {
    stops += inspect(stopping, at).answer == Answer::kStop;
    const Verdict verdict = inspect(warning, at);
    EXPECT_EQ(verdict.answer, Answer::kProceed);
    reasons += verdict.reason.find("The guard would stop here: ") != std::string::npos;
    EXPECT_EQ(guard_json(stopping), guard_json(warning));
  }
  EXPECT_GT(stops, 5);
  EXPECT_GE(reasons, 1);
  EXPECT_LE(reasons, 4);  // gold falls, d*: each when it begins
}

TEST(Guard, OffProceedsAndCostsNothing) {
  Options off;
  off.guard = "off";
  Guard guard(off);
  for (const Step& at : course(length_pays, 1)) EXPECT_TRUE(inspect(guard, at).signals.empty());
  EXPECT_EQ(guard.inspect_update(81, {kNaN, kNaN, kNaN, kNaN}).answer, Answer::kProceed);
  EXPECT_THAT(guard.metrics(), IsEmpty());
  EXPECT_EQ(guard_json(guard), guard_json(Guard(off)));
}

TEST(Guard, TheBudget) {
  Options options;
  options.kl_budget = 2;
  const auto look = [](Guard& guard, int64_t step, double estimate, double exact) {
    return guard.inspect_rollouts(step, {{"guard/kl", estimate}, {"guard/kl_exact", exact}}, {});
  };
  Guard guard(options);
  EXPECT_EQ(look(guard, 1, 5, 1.9).answer, Answer::kProceed);  // the exact one counts
  const Verdict over = look(guard, 2, 1, 2.5);
  EXPECT_EQ(over.answer, Answer::kStop);
  EXPECT_EQ(over.reason, "The KL to the initial model is 2.5 nats per completion, above kl_budget 2.");
  EXPECT_THAT(over.signals, Contains("kl_budget"));
  // Estimates: the median of three.
  Guard estimated(options);
  EXPECT_EQ(look(estimated, 1, 9, kNaN).answer, Answer::kProceed);
  EXPECT_EQ(look(estimated, 2, 9, kNaN).answer, Answer::kProceed);
  EXPECT_EQ(look(estimated, 3, 9, kNaN).answer, Answer::kStop);
  Guard noisy(options);
  for (const double kl : {0.0, 9.0, 1.0, 0.5, 9.0, -1.0}) EXPECT_EQ(look(noisy, 4, kl, kNaN).answer, Answer::kProceed);
}

TEST(Guard, SpikesWarn) {
  Guard guard;
  for (int64_t step = 1; step <= 20; ++step) {
    Step at = quiet(step);
    at.signals = {{"guard/kl", 1 + 0.01 * static_cast<double>(step % 3)}};
    EXPECT_EQ(inspect(guard, at).reason, "") << step;
  }
  Step at = quiet(21);
  at.signals = {{"guard/kl", 3.0}};
  at.update.grad_norm = 30;
  at.update.max_log_ratio = 12;
  const Verdict verdict = inspect(guard, at);
  EXPECT_EQ(verdict.answer, Answer::kProceed);
  EXPECT_THAT(verdict.signals, ::testing::ElementsAre("gradient_spike", "kl_spike", "log_ratio"));
  EXPECT_THAT(verdict.reason, HasSubstr("KL to the initial model has jumped to 3 nats"));
  EXPECT_THAT(verdict.reason, HasSubstr("gradient's norm is 30"));
  EXPECT_THAT(verdict.reason, HasSubstr("moved by 12 nats"));
  EXPECT_THAT(inspect(guard, quiet(22)).signals, Contains("kl_spike"));  // no look at the KL: as it was
}

TEST(Guard, AHoleThatDoesNotPayYetWarns) {
  Guard guard;
  Answer answer = Answer::kProceed;
  std::vector<std::string> reasons;
  for (int64_t step = 1; step <= 40; ++step) {
    Step at = quiet(step);
    at.signals = {{"guard/paid_wrong", step < 15 ? 0.0 : 0.5}};
    at.row = {{"reward", step < 30 ? 0.5 : 0.8}};
    const Verdict verdict = inspect(guard, at);
    answer = verdict.answer;
    if (!verdict.reason.empty()) reasons.push_back(fmt::format("{} {}", step, verdict.reason));
    EXPECT_EQ(answer == Answer::kStop, step >= 31) << step;  // the median of three rewards
    if (step >= 31) break;
  }
  const std::string says =
      "The reward pays for answers that the held-out reward rejects (guard/paid_wrong 0.5, control band at most 0.2).";
  EXPECT_THAT(reasons, ::testing::ElementsAre("17 " + says, "31 " + says));
}

TEST(Guard, AFlatStartDoesNotAlarmAtTheFirstWiggle) {
  Guard guard;
  for (int64_t step = 1; step <= 40; ++step) {
    const double wiggle = step <= 10 ? 0 : 0.05;
    Step at = quiet(step);
    at.signals = {{"guard/length_correlation", wiggle},
                  {"guard/distinct_2", 1 - wiggle},
                  {"guard/hollow_format", wiggle},
                  {"guard/paid_wrong", wiggle},
                  {"guard/compression_ratio", 1 + wiggle}};
    at.row = {{"reward", 0.5}, {"completions/mean_length", 20 + 20 * wiggle}, {"completions/clipped_ratio", wiggle}};
    EXPECT_THAT(inspect(guard, at).signals, IsEmpty()) << step;
  }
}

TEST(Guard, EveryStepSurvivesItsJson) {
  Options options;
  options.kl_budget = 15;
  for (const Kind& kind : kinds()) {
    Guard straight(options), resumed(options);
    for (const Step& at : course(kind.state, 5, 80, 64, kind.with_gold ? 3 : 0)) {
      auto read = guard_from_json(files::Json::parse(guard_json(resumed).dump()), options);
      ASSERT_TRUE(read) << read.error().message;
      resumed = std::move(*read);
      if (at.step % 7 == 0) {
        straight.note_saved(at.step);
        resumed.note_saved(at.step);
      }
      const Verdict a = inspect(straight, at), b = inspect(resumed, at);
      ASSERT_EQ(a.answer, b.answer);
      ASSERT_EQ(a.reason, b.reason);
      ASSERT_EQ(a.signals, b.signals);
      ASSERT_EQ(guard_json(straight).dump(), guard_json(resumed).dump()) << kind.name << " step " << at.step;
      ASSERT_EQ(guard_summary(straight), guard_summary(resumed));
    }
  }
}

TEST(Guard, WhatIsNoMemoryIsNamed) {
  for (const char* text : {"{}", "[]", "null", "{\"watches\": 3}", "{\"watches\": {\"x\": []}}"}) {
    const auto read = guard_from_json(files::Json::parse(text), {});
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr("[guard] the checkpoint's memory of the guard cannot be read: "));
  }
  files::Json json = guard_json(Guard());
  json["alarms"] = {{1, 2}};
  EXPECT_FALSE(guard_from_json(json, {}));
}

TEST(Guard, TheGoodCheckpointIsBeforeAnythingWasWrong) {
  Guard guard;
  int64_t good = 0;
  for (const Step& at : course(length_pays, 2, 80, 64, 0)) {
    inspect(guard, at);
    if (at.step % 5 == 0) guard.note_saved(at.step);
    EXPECT_GE(guard.good_checkpoint(), good);
    good = guard.good_checkpoint();
  }
  EXPECT_GE(good, kHackBegins - 10);
  EXPECT_LE(good, kHackBegins + 15);  // within the hack's first half nothing has left its band yet
}

TEST(Guard, WantsACheckpointWheneverTheRunHasDoubled) {
  const auto wanted = [](Guard& guard, int64_t first, int64_t last) {
    std::vector<int64_t> steps;
    for (int64_t step = first; step <= last; ++step)
      if (guard.wants_checkpoint(step)) steps.push_back(step);
    return steps;
  };
  Guard guard;
  EXPECT_THAT(wanted(guard, 0, 200), ::testing::ElementsAre(10, 20, 40, 80, 160));
  guard.inspect_update(30, {kNaN, 1, kNaN, 0});  // something is wrong
  EXPECT_THAT(wanted(guard, 31, 100), IsEmpty());
  Options off;
  off.guard = "off";
  Guard silent(off);
  EXPECT_THAT(wanted(silent, 0, 200), IsEmpty());
}

TEST(Guard, WithAHeldOutRewardTheGoodCheckpointIsAtItsPeak) {
  Guard guard;
  const auto look = [&](int64_t step, double gold) {
    guard.inspect_rollouts(step, {{"gold", gold}, {"gold/standard_error", 0.01}}, {{"reward", 0.5}});
  };
  guard.note_saved(0);
  look(1, 0.5);
  guard.note_saved(10);
  EXPECT_EQ(guard.good_checkpoint(), 10);
  look(11, 0.7);
  guard.note_saved(20);
  EXPECT_EQ(guard.good_checkpoint(), 20);
  look(21, 0.6);
  guard.note_saved(30);
  look(31, 0.6);
  guard.note_saved(40);
  EXPECT_EQ(guard.good_checkpoint(), 20);
  look(41, 0.8);  // a new best, of the checkpoint of step 40
  EXPECT_EQ(guard.good_checkpoint(), 40);
}

TEST(Guard, PairsThatBothBecomeUnlikely) {
  Guard guard;
  Verdict verdict;
  for (int64_t step = 1; step <= 40; ++step) {
    const double t = ramp(static_cast<double>(step), 12, 20);
    PreferenceNumbers numbers;
    numbers.chosen_logps = -100 + (step % 3) - 60 * t;
    numbers.rejected_logps = -110 + (step % 4) - 90 * t;
    numbers.accuracy = 0.5 + 0.4 * t;
    verdict = guard.inspect_preference(step, numbers);
    if (step <= 15) {
      EXPECT_THAT(verdict.signals, IsEmpty());
    }
  }
  EXPECT_THAT(verdict.signals, Contains("likelihood_displacement"));
  EXPECT_EQ(verdict.answer, Answer::kProceed);
  // The rejected alone may fall: that is what was asked for; and margins that go with length warn.
  Guard healthy;
  for (int64_t step = 1; step <= 40; ++step) {
    PreferenceNumbers numbers;
    numbers.chosen_logps = -100 + (step % 3);
    numbers.rejected_logps = -110 - 3.0 * static_cast<double>(step);
    numbers.margin_length_correlation = step < 30 ? 0.1 : 0.8;
    verdict = healthy.inspect_preference(step, numbers);
  }
  EXPECT_THAT(verdict.signals, ::testing::ElementsAre("margin_length"));
}

TEST(Guard, ARisingMarginThatTheHeldOutRewardDoesNotShareStops) {
  Guard guard;
  Answer answer = Answer::kProceed;
  for (int64_t step = 1; step <= 60 && answer != Answer::kStop; ++step) {
    PreferenceNumbers numbers;
    numbers.accuracy = 0.5 + 0.008 * static_cast<double>(step);
    numbers.gold = (step < 30 ? 0.4 : 0.4 - 0.02 * static_cast<double>(step - 30)) + 0.01 * (step % 3);
    const Verdict verdict = guard.inspect_preference(step, numbers);
    answer = verdict.answer;
    if (answer == Answer::kStop) {
      EXPECT_THAT(verdict.reason, HasSubstr("The held-out reward fell from "));
    }
  }
  EXPECT_EQ(answer, Answer::kStop);
}

TEST(Guard, TheSummarySaysItInASentence) {
  Guard fresh;
  EXPECT_EQ(guard_summary(fresh)["sentence"], "The guard has not looked at a step yet.");
  Guard honest;
  for (const Step& at : course(stands_still, 1, 30)) inspect(honest, at);
  files::Json summary = guard_summary(honest);
  EXPECT_EQ(summary["verdict"], "healthy");
  EXPECT_THAT(summary["sentence"].get<std::string>(), HasSubstr("; no signal went beyond its band."));
  Guard hacked;
  for (const Step& at : course(flatters, 1)) inspect(hacked, at);
  summary = guard_summary(hacked);
  EXPECT_EQ(summary["verdict"], "stopped");
  EXPECT_THAT(summary["sentence"].get<std::string>(), HasSubstr("the guard asked to stop, for "));
  EXPECT_TRUE(summary["alarms"][0].contains("step"));
  Guard skipped;
  skipped.inspect_update(1, {kNaN, 1, kNaN, 0});
  EXPECT_NE(guard_summary(skipped)["verdict"], "healthy");
}

TEST(Guard, TheLawIsFittedAndItsBestDistanceIsALimit) {
  Options options;
  options.guard_control_steps = 1;
  Guard guard(options);
  Verdict verdict;
  double d = 0;
  for (int64_t step = 1; step <= 60 && verdict.answer != Answer::kStop; ++step) {
    d = 0.15 * static_cast<double>(step - 1);
    const double gold = 0.3 + (d > 0 ? d * (0.4 - 0.25 * std::log(d)) : 0) + 0.004 * static_cast<double>(step % 3 - 1);
    verdict = guard.inspect_rollouts(step, {{"gold", gold}, {"gold/standard_error", 0.06}, {"guard/kl_exact", d * d}},
                                     {{"reward", 0.3 + 0.2 * d}});
  }
  EXPECT_EQ(verdict.answer, Answer::kStop);
  EXPECT_THAT(verdict.signals, Contains("beyond_optimum"));
  const files::Json fit = guard_summary(guard)["fit"];
  EXPECT_NEAR(fit["d_star"].get<double>(), std::exp(0.4 / 0.25 - 1), 0.1);  // noise of 0.004
  EXPECT_GT(d, fit["d_star_interval"][1].get<double>());
}

}  // namespace
}  // namespace candor::guard
