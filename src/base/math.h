// exp, log, sin and cos in double that do not depend on the machine: libm picks its code by processor, so its last bit
// may differ between two machines, and with it a run's bytes. Errors stay below 2 units in the last place over the
// ranges used here (base/math_test.cpp compares with long double).
#pragma once

namespace candor {

double exact_exp(double x);            // underflows to 0, overflows to infinity, NaN stays NaN
double exact_log(double x);            // x > 0; log(0) = -infinity, negative gives NaN
double exact_pow(double x, double y);  // x > 0
double exact_sin(double x);            // |x| < 2^30
double exact_cos(double x);

}  // namespace candor
