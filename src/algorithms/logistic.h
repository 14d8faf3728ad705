// The logistic function, its logarithm, and their neighbours, in forms that neither overflow nor cancel.
#pragma once

namespace candor::algorithms {

// A function's value at a point and its derivative there.
struct Curve {
  double value = 0, slope = 0;
};

double exact_log1p(double x);  // ln(1 + x), x > -1, as exact for small x as for large
double exact_expm1(double x);  // e^x - 1, likewise

double sigmoid(double x);                                    // σ(x) = 1 / (1 + e^-x)
double sigmoid_slope(double x);                              // σ(x)·σ(-x)
Curve neg_log_sigmoid(double x);                             // ℓ(x) = -ln σ(x) = ln(1 + e^-x); slope -σ(-x)
Curve smoothed_neg_log_sigmoid(double x, double smoothing);  // (1-ε)·ℓ(x) + ε·ℓ(-x); slope σ(x) - (1-ε)
Curve hinge(double x);                                       // max(0, 1 - x); slope -1 below 1, 0 at 1 and above

}  // namespace candor::algorithms
