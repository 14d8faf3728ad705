#include "algorithms/logistic.h"

#include "base/math.h"

namespace candor::algorithms {

// W. Kahan's correction in both: the rounding of 1 + x (of e^x) is divided out again.
double exact_log1p(double x) {
  const double sum = 1.0 + x;
  if (sum == 1.0) return x;
  return exact_log(sum) * x / (sum - 1.0);
}

double exact_expm1(double x) {
  const double power = exact_exp(x);
  if (power == 1.0) return x;
  const double difference = power - 1.0;
  if (difference == -1.0 || power > 1e300) return difference;
  return difference * x / exact_log(power);
}

double sigmoid(double x) {
  if (x >= 0) return 1.0 / (1.0 + exact_exp(-x));
  const double power = exact_exp(x);
  return power / (1.0 + power);
}

double sigmoid_slope(double x) {
  return sigmoid(x) * sigmoid(-x);
}

Curve neg_log_sigmoid(double x) {
  const double value = x >= 0 ? exact_log1p(exact_exp(-x)) : exact_log1p(exact_exp(x)) - x;
  return {value, -sigmoid(-x)};
}

Curve smoothed_neg_log_sigmoid(double x, double smoothing) {
  const Curve right = neg_log_sigmoid(x), wrong = neg_log_sigmoid(-x);
  return {(1.0 - smoothing) * right.value + smoothing * wrong.value,
          (1.0 - smoothing) * right.slope - smoothing * wrong.slope};
}

Curve hinge(double x) {
  return x < 1.0 ? Curve{1.0 - x, -1.0} : Curve{};
}

}  // namespace candor::algorithms
