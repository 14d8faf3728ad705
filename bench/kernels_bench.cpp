// The kernels on SmolLM2-135M's shapes, each as a fraction of the roof measured between its own repetitions: the
// machine may be shared, and only figures taken side by side compare. One thread is timed by its own processor time,
// which leaves out what other programs took; two threads by the clock, so those figures need an idle machine. Build
// with -DCANDOR_BENCH=ON and run, e.g. kernels_bench --benchmark_filter=forward `of_roof` is the best repetition's rate
// over the best roof: float32 arithmetic, or for `stream` reading DRAM.
#include <benchmark/benchmark.h>

#include <time.h>

#include <algorithm>
#include <cstdlib>
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

double now(const ThreadPool& pool) {
  timespec t{};
  clock_gettime(pool.threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Seconds of one call, from enough calls to last about a millisecond.
template <typename Work>
double time_of(const ThreadPool& pool, Work&& work) {
  for (int64_t calls = 1;; calls *= 2) {
    const double start = now(pool);
    for (int64_t i = 0; i < calls; ++i) work();
    const double took = now(pool) - start;
    if (took > 1e-3) return took / static_cast<double>(calls);
  }
}

double roof_flops(ThreadPool& pool) {
  std::vector<float> values(static_cast<size_t>(pool.threads()) * 16, 1.0f);
  std::vector<int64_t> operations(static_cast<size_t>(pool.threads()) * 8);
  const double took = time_of(pool, [&] {
    pool.run(pool.threads(), [&](int64_t i, int) {
      operations[static_cast<size_t>(i * 8)] = kernels().multiply_add(8000, &values[static_cast<size_t>(i * 16)]);
    });
  });
  return static_cast<double>(operations[0] * pool.threads()) / took;
}

// Work and roof by turns; reports the best of each.
template <typename Work>
void against_roof(benchmark::State& state, ThreadPool& pool, double flops, Work&& work) {
  double rate = 0, roof = 0;
  for (auto _ : state) {
    roof = std::max(roof, roof_flops(pool));
    rate = std::max(rate, flops / time_of(pool, work));
  }
  state.counters["gflops"] = 1e-9 * rate;
  state.counters["of_roof"] = rate / roof;
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
  double best[2] = {1e9, 1e9};
  for (auto _ : state) {
    for (const bool roof : {true, false}) {
      const double start = now(pool);
      for (int64_t layer = 0; layer < layers; ++layer) {
        const float* w = weights.data() + layer * size;
        if (roof) {
          pool.run(8, [&](int64_t i, int) {
            const int64_t half = size / 16;
            sums[static_cast<size_t>(i)] += kernels().dot(w + 2 * i * half, w + (2 * i + 1) * half, half);
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
      best[roof] = std::min(best[roof], now(pool) - start);
    }
  }
  state.counters["GB/s"] = 4e-9 * static_cast<double>(size * layers) / best[0];
  state.counters["of_roof"] = best[1] / best[0];
  benchmark::DoNotOptimize(sums.data());
}

BENCHMARK(forward)
    ->ArgsProduct({{4, 16, 64, 207, 500}, {36, 96}, {576}, {1, 2}})
    ->ArgsProduct({{64, 207}, {36}, {1536}, {1, 2}})
    ->ArgsProduct({{64, 207}, {1, 12, 32}, {576}, {1, 2}})
    ->Iterations(40);
BENCHMARK(input_gradient)->ArgsProduct({{64, 207}, {576, 1536}, {192, 576, 1536}, {1, 2}})->Iterations(40);
BENCHMARK(weight_gradient)
    ->ArgsProduct({{16}, {576, 1536}, {64, 207, 1024}, {1, 2}})
    ->ArgsProduct({{192, 576, 1536}, {16, 576}, {64, 207, 1024}, {1, 2}})
    ->Iterations(40);
BENCHMARK(attention)
    ->ArgsProduct({{1, 3, 6, 48}, {1}, {64}, {16}})
    ->ArgsProduct({{1, 3, 6, 48}, {4}, {16}, {64, 192}})
    ->Iterations(40);
BENCHMARK(stream)->ArgsProduct({{1, 3, 6, 16}, {1, 2}})->Iterations(12);

}  // namespace

BENCHMARK_MAIN();
