// How the time of a training step grows.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "files/run_log.h"

namespace candor::cli {

// The slope of ln(seconds) against ln(size) by least squares: the p in seconds ~ size^p. At least two sizes, all
// positive.
double exponent_of(const std::vector<double>& sizes, const std::vector<double>& seconds);

// Steps of training_step (bench_works.h) over tokens of one row, rows, rank, and the width of models that are made for
// it: [{name, sizes, seconds, gflops, exponent}]. progress: before each step's timing.
Result<files::Json> cost_curves(const engine::Context& context, const engine::Model& model,
                                const std::function<void(const char* curve, int64_t size)>& progress);

}  // namespace candor::cli
