// The kernels on SmolLM2-135M's shapes, each as a fraction of the roof measured between its own repetitions: the
// machine may be shared, and only figures taken side by side compare. Build with -DCANDOR_BENCH=ON and run, e.g.
//   kernels_bench --benchmark_filter=forward
// `of_roof` is the fraction (median of the repetitions): float32 arithmetic, or for `stream` the read rate of DRAM.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"

namespace {

using namespace candor;
using namespace candor::engine;

const Kernels& kernels() {
  static const Kernels* chosen = [] {
    auto selected = select_kernels(std::getenv("CANDOR_CPU") ? std::getenv("CANDOR_CPU") : "");
    return selected ? *selected : &plain_kernels();
  }();
  return *chosen;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call, from enough calls to last about 3 ms.
template <typename Work>
double time_of(Work&& work) {
  work();
  for (int64_t calls = 1;; calls *= 2) {
    const double start = now();
    for (int64_t i = 0; i < calls; ++i) work();
    const double took = now() - start;
    if (took > 3e-3) return took / static_cast<double>(calls);
  }
}

double roof_flops(ThreadPool& pool) {
  std::vector<float> values(static_cast<size_t>(pool.threads()) * 16, 1.0f);
  int64_t operations = 0;
  const double took = time_of([&] {
    pool.run(pool.threads(),
             [&](int64_t i, int) { operations = kernels().multiply_add(20000, &values[static_cast<size_t>(i * 16)]); });
  });
  return static_cast<double>(operations * pool.threads()) / took;
}

// Work and roof by turns; reports the median of the fractions.
template <typename Work>
void against_roof(benchmark::State& state, ThreadPool& pool, double flops, Work&& work) {
  std::vector<double> fractions, rates;
  for (auto _ : state) {
    const double before = roof_flops(pool);
    const double rate = flops / time_of(work);
    const double roof = std::max(before, roof_flops(pool));
    rates.push_back(rate);
    fractions.push_back(rate / roof);
  }
  auto median = [](std::vector<double>& x) {
    std::nth_element(x.begin(), x.begin() + static_cast<int64_t>(x.size() / 2), x.end());
    return x[x.size() / 2];
  };
  state.counters["gflops"] = 1e-9 * median(rates);
  state.counters["best"] = *std::max_element(fractions.begin(), fractions.end());
  state.counters["of_roof"] = median(fractions);
}

std::vector<float> numbers(int64_t n) {
  std::vector<float> out(static_cast<size_t>(n));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i * 2654435761u % 1000) * 1e-3f - 0.5f;
  return out;
}

// rows, panels, depth, threads
void forward(benchmark::State& state) {
  const int64_t rows = state.range(0), panels = state.range(1), depth = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(3)));
  const auto a = numbers(rows * depth), b = numbers(panels * 16 * depth);
  std::vector<float> c(static_cast<size_t>(rows * panels * 16));
  const Matmul m{.a = a.data(),
                 .a_row = depth,
                 .b = b.data(),
                 .b_panel = depth * 16,
                 .c = c.data(),
                 .c_row = panels * 16,
                 .rows = rows,
                 .panels = panels,
                 .depth = depth};
  against_roof(state, pool, 2.0 * rows * panels * 16 * depth, [&] {
    if (pool.threads() == 1) return kernels().matmul(m);
    run_matmuls(pool, kernels(), {&m, 1});
  });
}

// rows, in, out, threads
void input_gradient(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(3)));
  const auto dy = numbers(rows * out), weight = numbers(out * in);
  std::vector<float> dx(static_cast<size_t>(rows * in));
  const TransposedMatmul m{.dy = dy.data(),
                           .dy_row = out,
                           .weight = weight.data(),
                           .rows = rows,
                           .out = out,
                           .in = in,
                           .dx = dx.data(),
                           .dx_row = in};
  against_roof(state, pool, 2.0 * rows * in * out, [&] { run_transposed_matmuls(pool, kernels(), {&m, 1}); });
}

// rows (out or the adapter's rank), columns (in), tokens, threads
void weight_gradient(benchmark::State& state) {
  const int64_t rows = state.range(0), columns = state.range(1), tokens = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(3)));
  const auto dy = numbers(tokens * rows), x = numbers(tokens * columns);
  std::vector<float> dw(static_cast<size_t>(rows * columns));
  const Matmul m{.a = dy.data(),
                 .a_row = 1,
                 .a_k = rows,
                 .b = x.data(),
                 .b_k = columns,
                 .b_panel = 16,
                 .c = dw.data(),
                 .c_row = columns,
                 .rows = rows,
                 .panels = columns / 16,
                 .depth = tokens,
                 .accumulate = true};
  against_roof(state, pool, 2.0 * rows * columns * tokens, [&] {
    if (pool.threads() == 1) return kernels().matmul(m);
    run_matmuls(pool, kernels(), {&m, 1});
  });
}

// rows, panels, depth, b_k: the products of attention, always one thread and a cache that is warm
void attention(benchmark::State& state) {
  const int64_t rows = state.range(0), panels = state.range(1), depth = state.range(2), b_k = state.range(3);
  ThreadPool pool(1);
  const auto a = numbers(rows * depth), b = numbers(depth * b_k);
  std::vector<float> c(static_cast<size_t>(rows * panels * 16));
  const Matmul m{.a = a.data(),
                 .a_row = depth,
                 .b = b.data(),
                 .b_k = b_k,
                 .b_panel = 16,
                 .c = c.data(),
                 .c_row = panels * 16,
                 .rows = rows,
                 .panels = panels,
                 .depth = depth,
                 .accumulate = panels > 1};
  against_roof(state, pool, 2.0 * rows * panels * 16 * depth, [&] { kernels().matmul(m); });
}

// rows, threads: a decode step's weights, 48 matrices of 1536×576 (170 MB); the roof here is reading them with dot().
void stream(benchmark::State& state) {
  const int64_t rows = state.range(0), panels = 96, depth = 576, size = panels * 16 * depth, layers = 48;
  ThreadPool pool(static_cast<int>(state.range(1)));
  const auto a = numbers(rows * depth), weights = numbers(size * layers);
  std::vector<float> c(static_cast<size_t>(rows * panels * 16)), sums(64);
  std::vector<double> fractions, rates;
  for (auto _ : state) {
    double times[3];
    for (double& took : times) {
      const bool roof = &took != &times[1];
      const double start = now();
      for (int64_t layer = 0; layer < layers; ++layer) {
        const float* w = weights.data() + layer * size;
        if (roof) {
          pool.run(8, [&](int64_t i, int) {
            sums[static_cast<size_t>(i)] += kernels().dot(w + i * size / 8, w + i * size / 8 + size / 16, size / 16);
          });
        } else {
          const Matmul m{.a = a.data(),
                         .a_row = depth,
                         .b = w,
                         .b_panel = depth * 16,
                         .c = c.data(),
                         .c_row = panels * 16,
                         .rows = rows,
                         .panels = panels,
                         .depth = depth};
          run_matmuls(pool, kernels(), {&m, 1});
        }
      }
      took = now() - start;
    }
    rates.push_back(4e-9 * static_cast<double>(size * layers) / times[1]);
    fractions.push_back(std::min(times[0], times[2]) / times[1]);
  }
  std::sort(fractions.begin(), fractions.end());
  std::sort(rates.begin(), rates.end());
  state.counters["GB/s"] = rates[rates.size() / 2];
  state.counters["of_roof"] = fractions[fractions.size() / 2];
  benchmark::DoNotOptimize(sums.data());
}

BENCHMARK(forward)
    ->ArgsProduct({{4, 16, 64, 207, 500}, {36, 96}, {576}, {1, 2}})
    ->ArgsProduct({{64, 207}, {36}, {1536}, {1, 2}})
    ->ArgsProduct({{64, 207}, {1, 12, 32}, {576}, {1, 2}})
    ->Iterations(15);
BENCHMARK(input_gradient)->ArgsProduct({{64, 207}, {576, 1536}, {192, 576, 1536}, {1, 2}})->Iterations(15);
BENCHMARK(weight_gradient)
    ->ArgsProduct({{16}, {576, 1536}, {64, 207, 1024}, {1, 2}})
    ->ArgsProduct({{192, 576, 1536}, {16, 576}, {64, 207, 1024}, {1, 2}})
    ->Iterations(15);
BENCHMARK(attention)
    ->ArgsProduct({{1, 3, 6, 48}, {1}, {64}, {16}})
    ->ArgsProduct({{1, 3, 6, 48}, {4}, {16}, {64, 192}})
    ->Iterations(15);
BENCHMARK(stream)->ArgsProduct({{1, 3, 6, 16}, {1, 2}})->Iterations(9);

}  // namespace

BENCHMARK_MAIN();
