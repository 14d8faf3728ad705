// One pair at a time: scores of the divergences, losses and derivatives. dpo.h has the formulas.
#include <algorithm>
#include <numbers>

#include "algorithms/dpo.h"
#include "base/check.h"
#include "base/math.h"

namespace candor::algorithms {

namespace {

constexpr double kLargestExponent = 80.0;

// x = β(S(u) - S(v)) and a loss of x alone, by the chain rule.
struct Scored {
  Curve chosen, rejected;
  double beta;

  double x() const { return beta * (chosen.value - rejected.value); }
  PairTerm term(const Curve& loss) const {
    return {loss.value, loss.slope * beta * chosen.slope, -loss.slope * beta * rejected.slope};
  }
};

// The same of D = S(u)/L_c - S(v)/L_r.
PairTerm length_normalized(DpoType type, const Scored& s, const PairScores& scores) {
  const double d = s.chosen.value / scores.chosen_length - s.rejected.value / scores.rejected_length;
  Curve loss;
  if (type == DpoType::kIpo) {
    const double gap = d - 1.0 / (2.0 * s.beta);
    loss = {gap * gap, 2.0 * gap};
  } else {
    loss = neg_log_sigmoid(s.beta * d);
    loss.slope *= s.beta;
  }
  return {loss.value, loss.slope * s.chosen.slope / scores.chosen_length,
          -loss.slope * s.rejected.slope / scores.rejected_length};
}

Curve exo_pair(double x, double epsilon) {
  const double p = sigmoid(x), q = sigmoid(-x);
  const double right = exact_log(1.0 - epsilon), wrong = exact_log(epsilon);
  const double value = p * (-neg_log_sigmoid(x).value - right) + q * (-neg_log_sigmoid(-x).value - wrong);
  return {value, sigmoid_slope(x) * (x - (right - wrong))};
}

Curve robust(double x, double epsilon) {
  const Curve right = neg_log_sigmoid(x), wrong = neg_log_sigmoid(-x);
  const double scale = 1.0 - 2.0 * epsilon;
  return {((1.0 - epsilon) * right.value - epsilon * wrong.value) / scale,
          ((1.0 - epsilon) * right.slope + epsilon * wrong.slope) / scale};
}

Curve discopop(double x, double tau) {
  const Curve logistic = neg_log_sigmoid(x);
  const double exponential = exact_exp(-x), k = sigmoid(x / tau), rest = sigmoid(-x / tau);
  return {rest * logistic.value + k * exponential,
          rest * logistic.slope - k * exponential + k * rest / tau * (exponential - logistic.value)};
}

}  // namespace

Curve divergence_score(double h, const DpoOptions& o) {
  switch (o.f_divergence) {
    case Divergence::kReverseKl:
      return {h, 1.0};
    case Divergence::kForwardKl: {
      const double ratio = exact_exp(-h);
      return {1.0 - ratio, ratio};
    }
    case Divergence::kJs:
      return {std::numbers::ln2 - neg_log_sigmoid(h).value, sigmoid(-h)};
    case Divergence::kAlpha: {
      const double power = o.f_alpha - 1.0;
      if (power == 0.0) return {h, 1.0};
      const double ratio = exact_exp(std::min(power * h, kLargestExponent));
      return {(ratio - 1.0) / power, power * h > kLargestExponent ? 0.0 : ratio};
    }
  }
  return {};
}

PairTerm dpo_pair_term(DpoType type, const PairScores& scores, const DpoOptions& o) {
  const double beta = o.beta, u = scores.chosen, v = scores.rejected;
  const Scored s{divergence_score(u, o), divergence_score(v, o), beta};
  switch (type) {
    case DpoType::kSigmoid:
      return s.term(neg_log_sigmoid(s.x()));
    case DpoType::kCdpo:
      return s.term(smoothed_neg_log_sigmoid(s.x(), o.label_smoothing));
    case DpoType::kHinge:
      return s.term(hinge(s.x()));
    case DpoType::kIpo:
      return length_normalized(type, s, o.ipo_of_sums ? PairScores{scores.chosen, scores.rejected} : scores);
    case DpoType::kSigmoidNorm:
      return length_normalized(type, s, scores);
    case DpoType::kExoPair:
      return s.term(exo_pair(s.x(), o.label_smoothing));
    case DpoType::kRobust:
      return s.term(robust(s.x(), o.label_smoothing));
    case DpoType::kDiscopop:
      return s.term(discopop(s.x(), o.discopop_tau));
    case DpoType::kNcaPair: {
      const Curve up = neg_log_sigmoid(beta * u), down = neg_log_sigmoid(-beta * u), other = neg_log_sigmoid(-beta * v);
      return {up.value + 0.5 * down.value + 0.5 * other.value, beta * (up.slope - 0.5 * down.slope),
              -0.5 * beta * other.slope};
    }
    case DpoType::kBcoPair: {
      const Curve up = neg_log_sigmoid(beta * u), down = neg_log_sigmoid(-beta * v);
      return {up.value + down.value, beta * up.slope, -beta * down.slope};
    }
    case DpoType::kSppoHard: {
      const double up = u - 1.0 / (2.0 * beta), down = v + 1.0 / (2.0 * beta);
      return {up * up + down * down, 2.0 * up, 2.0 * down};
    }
    case DpoType::kApoZero:
      return {sigmoid(-beta * u) + sigmoid(beta * v), -beta * sigmoid_slope(beta * u), beta * sigmoid_slope(beta * v)};
    case DpoType::kApoDown: {
      const double x = beta * (u - v), slope = sigmoid_slope(x);
      return {sigmoid(beta * u) + sigmoid(-x), beta * (sigmoid_slope(beta * u) - slope), beta * slope};
    }
    case DpoType::kAot:
    case DpoType::kAotUnpaired:
    case DpoType::kSft:
      break;
  }
  CHECK(!"a type that looks at one pair alone");
  return {};
}

}  // namespace candor::algorithms
