// Distillation against TRL: every case of golden/losses/distillation.json and minillm.json, finite differences, and
// twins.
#include "algorithms/distillation.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "algorithms/golden_numbers.h"

namespace candor::algorithms::testing {
namespace {

using candor::testing::golden;

struct Divergence {
  double beta, temperature;
};

// Of logits [.., V] under a mask; TRL's denominators.
std::string mismatch(const json& c, const Divergence& d) {
  const json& in = c["inputs"];
  const auto student = tensor(in, "student_logits"), teacher = tensor(in, "teacher_logits"), mask = tensor(in, "mask");
  const json& shape = in["student_logits"]["shape"];
  const size_t vocabulary = shape[2], tokens = student.size() / vocabulary;
  double counted = 0, sum = 0;
  std::vector<double> d_student(student.size(), 0.0);
  for (size_t t = 0; t < tokens; ++t) {
    if (!mask.empty() && mask[t] == 0) continue;
    ++counted;
    const auto at = [&](const std::vector<double>& v) {
      return std::span<const double>(v).subspan(t * vocabulary, vocabulary);
    };
    sum += token_divergence(at(student), at(teacher), d.beta, d.temperature,
                            std::span<double>(d_student).subspan(t * vocabulary, vocabulary));
  }
  const std::string reduction = c["config"].value("reduction", "batchmean");
  const auto items = tensor(in, "num_items_in_batch");
  double divisor = std::max(counted, 1.0);
  if (reduction == "sum") divisor = 1;
  if (reduction == "mean") divisor = std::max(counted, 1.0) * static_cast<double>(vocabulary);
  if (reduction == "batchmean" && mask.empty()) divisor = shape[0];
  if (!items.empty()) divisor = items[0];
  for (double& slope : d_student) slope /= divisor;
  Comparison compare{c};
  compare.number_is("loss", sum / divisor, number(c["outputs"]["loss"]));
  compare.list_is("d_student", d_student, tensor(c["outputs"]["gradients"], "student_logits"));
  return compare.wrong;
}

TEST(DistillationGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/distillation.json"));
  const auto cases = golden_cases("distillation.json");
  EXPECT_EQ(cases.size(), 26u);
  const std::vector<std::pair<std::string, std::function<void(Divergence&)>>> twins{
      {"student and teacher swapped in the mixture", [](Divergence& d) { d.beta = 1 - d.beta; }},
      {"no temperature", [](Divergence& d) { d.temperature = 1; }},
      {"beta", [](Divergence& d) { d.beta = 0.9 * d.beta + 0.05; }},
  };
  std::map<std::string, int> rejected;
  for (const json& c : cases) {
    const Divergence right{c["config"]["beta"], c["config"]["temperature"]};
    EXPECT_EQ(mismatch(c, right), "");
    for (const auto& [name, break_it] : twins) {
      Divergence twin = right;
      break_it(twin);
      rejected[name] += !mismatch(c, twin).empty();
    }
  }
  for (const auto& [name, times] : rejected) EXPECT_GT(times, 0) << name;
}

TEST(MinillmGolden, EveryCaseAndItsTwins) {
  CANDOR_REQUIRE_FILE(golden("losses/minillm.json"));
  const std::vector<std::pair<std::string, std::function<void(MinillmOptions&)>>> twins{
      {"the other length normalisation", [](MinillmOptions& o) { o.length_normalization = !o.length_normalization; }},
      {"gamma", [](MinillmOptions& o) { o.gamma = 0.9 * o.gamma + 0.01; }},
  };
  std::map<std::string, int> rejected;
  int ran = 0;
  for (const json& c : golden_cases("minillm.json")) {
    ++ran;
    if (c["inputs"].contains("student_logits")) {
      EXPECT_EQ(mismatch(c, {1.0, c["config"]["kd_temperature"]}), "");
      continue;
    }
    const PaddedRows rows(c["inputs"]["mask"], plain_order(c["inputs"]["mask"]["shape"][0]));
    const auto student = tensor(c["inputs"], "student_logprobs"), teacher = tensor(c["inputs"], "teacher_logprobs");
    const auto want = tensor(c["outputs"], "advantages");
    const MinillmOptions right{c["config"]["gamma"], c["config"]["length_normalization"]};
    const auto wrong = [&](const MinillmOptions& options) {
      const auto advantages = minillm_advantages(rows.rows(), student, teacher, options);
      std::vector<double> ours, theirs;
      for (size_t t = 0; t < want.size(); ++t)
        if (rows.mask[t]) {
          ours.push_back(advantages[t]);
          theirs.push_back(want[t]);
        }
      Comparison compare{c};
      compare.list_is("advantages", ours, theirs);
      return compare.wrong;
    };
    EXPECT_EQ(wrong(right), "");
    for (const auto& [name, break_it] : twins) {
      MinillmOptions twin = right;
      break_it(twin);
      rejected[name] += !wrong(twin).empty();
    }
  }
  EXPECT_EQ(ran, 6);
  for (const auto& [name, times] : rejected) EXPECT_GT(times, 0) << name;
}

TEST(Distillation, DerivativesAreFiniteDifferences) {
  const std::vector<double> student = {0.3, -1.2, 2.0, 0.1}, teacher = {1.0, 0.2, -0.4, 0.9};
  std::vector<double> d(4), unused(4);
  for (const double beta : {0.0, 0.1, 0.5, 1.0})
    for (const double temperature : {0.7, 2.0}) {
      token_divergence(student, teacher, beta, temperature, d);
      for (size_t v = 0; v < 4; ++v) {
        auto at = [&](double step) {
          auto moved = student;
          moved[v] += step;
          return token_divergence(moved, teacher, beta, temperature, unused);
        };
        EXPECT_NEAR(d[v], (at(1e-5) - at(-1e-5)) / 2e-5, 1e-9);  // 1e-16 / 1e-5 and the third derivative's 1e-10
      }
    }
}

// A token that one side excludes (-inf) adds nothing where its own probability is 0.
TEST(Distillation, AnExcludedTokenIsFinite) {
  const std::vector<double> student = {0.0, -INFINITY}, teacher = {0.0, -INFINITY};
  std::vector<double> d(2);
  for (const double beta : {0.0, 0.5, 1.0}) {
    EXPECT_NEAR(token_divergence(student, teacher, beta, 1.0, d), 0.0, 1e-15) << beta;
    EXPECT_FALSE(std::isnan(d[0]) || std::isnan(d[1])) << beta;
  }
}

}  // namespace
}  // namespace candor::algorithms::testing
