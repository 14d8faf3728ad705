#include "algorithms/distillation.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

// ln softmax(logits / temperature).
std::vector<double> log_softmax(std::span<const double> logits, double temperature) {
  const double highest = *std::max_element(logits.begin(), logits.end()) / temperature;
  double sum = 0;
  for (double logit : logits) sum += exact_exp(logit / temperature - highest);
  const double normalizer = highest + exact_log(sum);
  std::vector<double> out;
  for (double logit : logits) out.push_back(logit / temperature - normalizer);
  return out;
}

double log_sum(double a, double b) {
  const double high = std::max(a, b);
  if (std::isinf(high)) return high;
  return high + exact_log(exact_exp(a - high) + exact_exp(b - high));
}

// KL of two distributions given by their logarithms; a value of probability 0 adds nothing.
double kl(std::span<const double> log_p, std::span<const double> log_q) {
  double sum = 0;
  for (size_t v = 0; v < log_p.size(); ++v) {
    const double p = exact_exp(log_p[v]);
    if (p > 0) sum += p * (log_p[v] - log_q[v]);
  }
  return sum;
}

}  // namespace

double token_divergence(std::span<const double> student, std::span<const double> teacher, double beta,
                        double temperature, std::span<double> d_student) {
  CHECK(!student.empty() && teacher.size() == student.size() && d_student.size() == student.size());
  CHECK(beta >= 0 && beta <= 1 && temperature > 0);
  const std::vector<double> s = log_softmax(student, temperature), t = log_softmax(teacher, temperature);
  if (beta == 0) {
    for (size_t v = 0; v < s.size(); ++v) d_student[v] = (exact_exp(s[v]) - exact_exp(t[v])) / temperature;
    return kl(t, s);
  }
  std::vector<double> mixture = t;
  if (beta < 1)
    for (size_t v = 0; v < s.size(); ++v) mixture[v] = log_sum(exact_log(beta) + t[v], exact_log(1.0 - beta) + s[v]);
  const double of_student = kl(s, mixture), weight = beta < 1 ? 1.0 - beta : 1.0;
  for (size_t v = 0; v < s.size(); ++v) {
    const double p = exact_exp(s[v]);
    d_student[v] = p > 0 ? weight * p * (s[v] - mixture[v] - of_student) / temperature : 0.0;
  }
  return weight * of_student + (beta < 1 ? beta * kl(t, mixture) : 0.0);
}

std::vector<double> minillm_advantages(const RaggedRows& rows, std::span<const double> student_logprobs,
                                       std::span<const double> teacher_logprobs, const MinillmOptions& o) {
  constexpr double kMaskedWeight = 1e-4;
  CHECK(student_logprobs.size() == rows.tokens() && teacher_logprobs.size() == rows.tokens());
  std::vector<double> advantages(rows.tokens(), 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    double power = 1.0;
    std::vector<double> powers;
    for (size_t t = rows.begin(i); t < rows.end(i); ++t, power *= o.gamma) powers.push_back(power);
    double sum = 0, weight = 0;
    for (size_t t = rows.end(i); t-- > rows.begin(i);) {
      const double factor = powers[t - rows.begin(i)];
      const double reward = rows.counts(t) ? teacher_logprobs[t] - student_logprobs[t] : 0.0;
      sum += factor * reward;
      weight += factor * (rows.counts(t) ? 1.0 : kMaskedWeight);
      if (rows.counts(t)) advantages[t] = o.gamma == 0 ? reward : o.length_normalization ? sum / weight : sum;
    }
  }
  return advantages;
}

}  // namespace candor::algorithms
