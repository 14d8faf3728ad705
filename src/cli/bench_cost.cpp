// candor bench --cost: how the time of a training step grows with its tokens, rows, ranks and the model's width.
#include <fmt/format.h>

#include <cmath>
#include <span>

#include "cli/bench_cost.h"
#include "cli/bench_works.h"
#include "engine/model_weights.h"

namespace candor::cli {

namespace {

using files::Json;

struct Point {
  int64_t size;
  Work work;
};

Json curve(const char* name, std::span<const Point> points) {
  std::vector<double> sizes, seconds, gflops;
  for (const Point& point : points) {
    sizes.push_back(static_cast<double>(point.size));
    seconds.push_back(point.work.seconds);
    gflops.push_back(point.work.gflop / point.work.seconds);
  }
  return {{"name", name},
          {"sizes", sizes},
          {"seconds", seconds},
          {"gflops", gflops},
          {"exponent", exponent_of(sizes, seconds)}};
}

// Eight layers of this width, in the proportions of SmolLM2, with a small vocabulary.
files::ModelConfig config_of_width(int64_t width) {
  files::ModelConfig c;
  c.family = "llama";
  c.hidden_size = width;
  c.intermediate_size = width * 8 / 3 / 16 * 16;
  c.head_dim = 64;
  c.heads = width / c.head_dim;
  c.kv_heads = c.heads;
  c.layers = 8;
  c.vocab_size = 4096;
  c.max_positions = 2048;
  c.tied_head = true;
  return c;
}

}  // namespace

double exponent_of(const std::vector<double>& sizes, const std::vector<double>& seconds) {
  const auto n = static_cast<double>(sizes.size());
  double x = 0, y = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const double u = std::log(sizes[i]), v = std::log(seconds[i]);
    x += u, y += v, xx += u * u, xy += u * v;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

Result<Json> cost_curves(const engine::Context& context, const engine::Model& model,
                         const std::function<void(const char* curve, int64_t size)>& progress) {
  Json curves = Json::array();
  auto add = [&](const char* name, std::span<const int64_t> sizes, auto work_of) -> Result<void> {
    std::vector<Point> points;
    for (int64_t size : sizes) {
      progress(name, size);
      const Work work = TRY(work_of(size));
      points.push_back({size, work});
    }
    curves.push_back(curve(name, points));
    return {};
  };
  constexpr int64_t kTokens[] = {64, 128, 256, 512, 1024}, kRows[] = {1, 2, 4, 8}, kRanks[] = {1, 4, 16, 64, 128},
                    kWidths[] = {128, 256, 512, 1024};
  TRY(add("tokens of one row", kTokens, [&](int64_t tokens) { return training_step(context, model, 1, tokens, 16); }));
  TRY(add("rows of 128 tokens", kRows, [&](int64_t rows) { return training_step(context, model, rows, 128, 16); }));
  TRY(add("rank", kRanks, [&](int64_t rank) { return training_step(context, model, 2, 128, rank); }));
  TRY(add("width of eight layers", kWidths, [&](int64_t width) -> Result<Work> {
    const engine::Model made = TRY(engine::make_model(context, config_of_width(width), 0));
    return training_step(context, made, 2, 128, 16);
  }));
  return curves;
}

}  // namespace candor::cli
