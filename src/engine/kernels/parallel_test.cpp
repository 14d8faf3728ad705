// The split products against one call of the kernel: the same bits for any number of threads.
#include "engine/kernels/parallel.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/half.h"
#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

const Kernels& best() {
  return *levels().back();
}

struct Shape {
  int64_t rows, panels, depth;
  bool weight_gradient;
};

TEST(Parallel, ProductsSplitOverThreadsKeepTheirBits) {
  const std::vector<std::vector<Shape>> rounds = {
      {{1, 36, 576, false}, {1, 12, 576, false}, {1, 12, 576, false}},  // q, k, v of one token
      {{207, 9, 300, false}, {207, 1, 300, false}},                     // a base layer and an adapter
      {{500, 1, 64, false}},                                            // rows alone to split
      {{40, 3, 90, true}, {200, 2, 90, true}, {3, 1, 7, false}},
      {{0, 3, 8, false}, {2, 1, 0, false}},
  };
  for (const auto& shapes : rounds) {
    std::vector<Floats> a, b, c, expected;
    std::vector<Matmul> products;
    for (const Shape& s : shapes) {
      Matmul m{.rows = s.rows, .panels = s.panels, .depth = s.depth, .accumulate = s.weight_gradient};
      m.a_row = s.weight_gradient ? 1 : s.depth;
      m.a_k = s.weight_gradient ? s.rows : 1;
      m.b_k = s.weight_gradient ? s.panels * kPanel : kPanel;
      m.b_panel = s.weight_gradient ? kPanel : s.depth * kPanel;
      m.c_row = s.panels * kPanel;
      a.push_back(noise(s.rows * s.depth + 1, 1));
      b.push_back(noise(s.panels * kPanel * s.depth + 1, 2));
      c.push_back(noise(s.rows * m.c_row + 1, 3));
      products.push_back(m);
    }
    for (const int threads : {0, 1, 2, 3}) {  // 0: the kernel itself
      std::vector<Floats> out = c;
      for (size_t i = 0; i < products.size(); ++i)
        products[i].a = a[i].data(), products[i].b = b[i].data(), products[i].c = out[i].data();
      if (threads == 0) {
        for (const Matmul& m : products) best().matmul(m);
        expected = out;
      } else {
        ThreadPool pool(threads);
        run_matmuls(pool, best(), products);
        EXPECT_EQ(out, expected) << threads << " threads";
      }
    }
  }
}

TEST(Parallel, TransposedProductsEqualTheSumOverTheOutputs) {
  for (const int64_t in : {16, 40, 150}) {
    for (const int64_t rows : {1, 7, 130}) {
      const std::vector<int64_t> outs = {20, 600};
      const int64_t dx_row = padded(in);
      std::vector<Floats> weights, dys;
      for (const int64_t out : outs) {
        Floats w = noise(padded(out) * in, 5), dy = noise(rows * padded(out), 6);
        for (int64_t o = out; o < padded(out); ++o) {
          for (int64_t k = 0; k < in; ++k) w[static_cast<size_t>(o / 16 * in * 16 + k * 16 + o % 16)] = 0;
          for (int64_t i = 0; i < rows; ++i) dy[static_cast<size_t>(i * padded(out) + o)] = 0;
        }
        weights.push_back(w);
        dys.push_back(dy);
      }
      const Floats start(static_cast<size_t>(rows * dx_row), 0.25f);
      Floats one_thread;
      for (const int threads : {1, 2, 3}) {
        for (const bool accumulate : {false, true}) {
          Floats dx = start;
          std::vector<TransposedMatmul> products;
          for (size_t i = 0; i < outs.size(); ++i)
            products.push_back({.dy = dys[i].data(),
                                .dy_row = padded(outs[i]),
                                .weight = weights[i].data(),
                                .rows = rows,
                                .out = outs[i],
                                .in = in,
                                .dx = dx.data(),
                                .dx_row = dx_row,
                                .accumulate = accumulate});
          ThreadPool pool(threads);
          run_transposed_matmuls(pool, best(), products);
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t k = 0; k < dx_row; ++k) {
              double sum = accumulate ? 0.25 : 0;
              for (size_t w = 0; w < outs.size() && k < in; ++w)
                for (int64_t o = 0; o < outs[w]; ++o)
                  sum += static_cast<double>(dys[w][static_cast<size_t>(i * padded(outs[w]) + o)]) *
                         weights[w][static_cast<size_t>(o / 16 * in * 16 + k * 16 + o % 16)];
              // 620 steps, each rounding a partial sum below about 20 by 2^-24.
              ASSERT_NEAR(dx[static_cast<size_t>(i * dx_row + k)], sum, 1e-4) << in << " " << rows << " " << k;
            }
          }
          if (threads == 1 && accumulate) one_thread = dx;
          if (accumulate) {
            EXPECT_EQ(dx, one_thread) << threads << " threads";
          }
        }
      }
    }
  }
}

std::vector<uint16_t> rounded(const Floats& x) {
  std::vector<uint16_t> out(x.size());
  for (size_t i = 0; i < x.size(); ++i) out[i] = float_to_bfloat16(x[i]);
  return out;
}

TEST(Parallel, ProductsOfBothKindsShareARound) {
  const int64_t rows = 70, panels = 5, depth = 96;
  const Floats a = noise(rows * depth, 1), b = noise(panels * kPanel * depth, 2);
  const auto a16 = rounded(a), b16 = rounded(b);
  const size_t size = static_cast<size_t>(rows * panels * kPanel);
  Matmul m{.a = a.data(), .a_row = depth, .b = b.data(), .b_panel = depth * kPanel};
  Bf16Matmul h{.a = a16.data(), .a_row = depth, .b = b16.data(), .b_panel = depth * kPanel};
  m.rows = h.rows = rows, m.panels = h.panels = panels, m.depth = h.depth = depth, m.c_row = h.c_row = panels * kPanel;
  Floats expected(size), expected16(size);
  m.c = expected.data(), h.c = expected16.data();
  best().matmul(m);
  best().bf16_matmul(h);
  for (const int threads : {1, 2, 3}) {
    Floats c(size), c16(size);
    m.c = c.data(), h.c = c16.data();
    ThreadPool pool(threads);
    Matmuls both;
    both.add(m);
    both.add(h);
    run_matmuls(pool, best(), both);
    EXPECT_EQ(c, expected) << threads;
    EXPECT_EQ(c16, expected16) << threads;
  }
}

TEST(Parallel, TransposedBf16ProductsEqualTheSumOverTheOutputs) {
  const int64_t rows = 67, in = 112;
  const std::vector<int64_t> outs = {20, 600};
  std::vector<std::vector<uint16_t>> weights, dys;
  for (const int64_t out : outs) {
    weights.push_back(rounded(noise(padded(out) * in, 5)));
    dys.push_back(rounded(noise(rows * padded(out), 6)));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t o = out; o < padded(out); ++o) dys.back()[static_cast<size_t>(i * padded(out) + o)] = 0;
  }
  Floats one_thread;
  for (const int threads : {1, 2, 3}) {
    Floats dx(static_cast<size_t>(rows * in), 0.25f);
    std::vector<Bf16TransposedMatmul> products;
    for (size_t i = 0; i < outs.size(); ++i)
      products.push_back({.dy = dys[i].data(),
                          .dy_row = padded(outs[i]),
                          .weight = weights[i].data(),
                          .rows = rows,
                          .out = outs[i],
                          .in = in,
                          .dx = dx.data(),
                          .dx_row = in,
                          .accumulate = true});
    ThreadPool pool(threads);
    run_transposed_matmuls(pool, best(), products);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t k = 0; k < in; ++k) {
        double sum = 0.25;
        for (size_t w = 0; w < outs.size(); ++w)
          for (int64_t o = 0; o < outs[w]; ++o)
            sum +=
                static_cast<double>(bfloat16_to_float(dys[w][static_cast<size_t>(i * padded(outs[w]) + o)])) *
                bfloat16_to_float(weights[w][static_cast<size_t>(o / 16 * in * 16 + k / 2 * 32 + o % 16 * 2 + k % 2)]);
        // 620 steps, each rounding a partial sum below about 20 by 2^-24.
        ASSERT_NEAR(dx[static_cast<size_t>(i * in + k)], sum, 1e-4) << i << " " << k;
      }
    }
    if (threads == 1) one_thread = dx;
    EXPECT_EQ(dx, one_thread) << threads << " threads";
  }
}

// Two followers, of some rows each, against separate calls in the same order; and dx with the same ones.
TEST(Parallel, FollowersAddToTheirProductAfterIt) {
  const int64_t rows = 230, panels = 7, depth = 592, rank = 16, width = panels * kPanel;
  const Floats a = noise(rows * depth, 1), b = noise(width * depth, 2), u = noise(rows * rank, 3);
  const Floats low = noise(rank * width, 4);
  Matmul m{.a = a.data(), .a_row = depth, .b = b.data(), .b_panel = depth * kPanel, .c_row = width};
  m.rows = rows, m.panels = panels, m.depth = depth;
  const auto followers_of = [&](float* c) {
    std::vector<Follower> followers;
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 200}, {97, 230}})
      followers.push_back({c,
                           begin,
                           {.a = u.data() + begin * rank,
                            .a_row = rank,
                            .b = low.data(),
                            .b_k = width,
                            .b_panel = kPanel,
                            .c = c + begin * width,
                            .c_row = width,
                            .rows = end - begin,
                            .panels = panels,
                            .depth = rank,
                            .accumulate = true}});
    return followers;
  };
  const Floats dy = noise(rows * depth, 5), weight = noise(depth * width, 6);
  const auto dx_product = [&](float* dx) {
    return TransposedMatmul{.dy = dy.data(),
                            .dy_row = depth,
                            .weight = weight.data(),
                            .rows = rows,
                            .out = depth,
                            .in = width,
                            .dx = dx,
                            .dx_row = width};
  };
  const size_t size = static_cast<size_t>(rows * width);
  Floats expected(size), expected_dx(size);
  m.c = expected.data();
  best().matmul(m);
  for (const Follower& follower : followers_of(expected.data())) best().matmul(follower.product);
  ThreadPool one(1);
  const TransposedMatmul alone = dx_product(expected_dx.data());
  run_transposed_matmuls(one, best(), {&alone, 1});
  for (const Follower& follower : followers_of(expected_dx.data())) best().matmul(follower.product);
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Floats c(size), other(size), dx(size);
    Matmuls round;
    m.c = other.data();
    round.add(m);  // nothing follows this one
    m.c = c.data();
    round.add(m);
    round.followers = followers_of(c.data());
    run_matmuls(pool, best(), round);
    EXPECT_EQ(c, expected) << threads;
    EXPECT_NE(other, expected) << threads;
    const TransposedMatmul product = dx_product(dx.data());
    run_transposed_matmuls(pool, best(), {&product, 1}, followers_of(dx.data()));
    EXPECT_EQ(dx, expected_dx) << threads;
  }
}

TEST(Parallel, FinishesComeBehindFollowersAndTouchTheirRowsOnly) {
  const int64_t rows = 61, panels = 5, depth = 70, rank = 16, width = panels * kPanel;
  const Floats a = noise(rows * depth, 1), b = noise(width * depth, 2), u = noise(rows * rank, 3);
  const Floats low = noise(rank * width, 4), gain = noise(width, 5), bias = noise(width, 6);
  const size_t size = static_cast<size_t>(rows * width);
  const auto round_of = [&](float* c) {
    Matmuls round;
    Matmul m{.a = a.data(), .a_row = depth, .b = b.data(), .b_panel = depth * kPanel, .c = c, .c_row = width};
    m.rows = rows, m.panels = panels, m.depth = depth;
    round.add(m);
    Matmul added{.a = u.data(), .a_row = rank, .b = low.data(), .b_k = width, .b_panel = kPanel, .c = c};
    added.c_row = width, added.rows = rows, added.panels = panels, added.depth = rank, added.accumulate = true;
    round.followers.push_back({c, 0, added});
    return round;
  };
  Floats expected(size);
  const Matmuls parts = round_of(expected.data());
  best().matmul(parts.float32[0]);
  best().matmul(parts.followers[0].product);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < width; ++j) {
      float& y = expected[static_cast<size_t>(i * width + j)];
      if (i >= 7 && i < 40) y = y * 0.5f * gain[static_cast<size_t>(j)];
      y += bias[static_cast<size_t>(j)];
    }
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Floats c(size);
    Matmuls round = round_of(c.data());
    round.finishes.push_back({.of = c.data(), .row = 7, .rows = 33, .factor = 0.5f, .gain = gain.data()});
    round.finishes.push_back({.of = c.data(), .rows = rows, .bias = bias.data()});
    run_matmuls(pool, best(), round);
    EXPECT_EQ(c, expected) << threads;
  }
}

// Beside products, which they share their round with, and with lengths that are no multiple of anything.
TEST(Parallel, RoundsAndQuantizesBesideProducts) {
  const int64_t rows = 37, width = 80, odd = 3 * 16 + 5;
  const Floats x = noise(rows * width, 1);
  std::vector<uint16_t> expected(x.size()), last(static_cast<size_t>(odd));
  best().round_bf16(x.data(), rows * width, expected.data());
  best().round_bf16(x.data(), odd, last.data());
  const auto row_bytes = static_cast<size_t>(quantized_row_bytes(width));
  std::vector<uint8_t> expected_codes(rows * row_bytes);
  for (int64_t i = 0; i < rows; ++i) best().quantize_row(x.data() + i * width, width, &expected_codes[i * row_bytes]);
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<uint16_t> y(x.size()), y_last(static_cast<size_t>(odd));
    std::vector<uint8_t> codes(expected_codes.size());
    Floats c(static_cast<size_t>(rows * kPanel));
    Matmuls round;
    round.add(Matmul{.a = x.data(),
                     .a_row = width,
                     .b = x.data(),
                     .c = c.data(),
                     .c_row = kPanel,
                     .rows = rows,
                     .panels = 1,
                     .depth = width});
    round.roundings = {{x.data(), rows * width, y.data()}, {x.data(), odd, y_last.data()}};
    round.quantizings = {{x.data(), rows, width, codes.data()}};
    run_matmuls(pool, best(), round);
    EXPECT_EQ(y, expected) << threads;
    EXPECT_EQ(y_last, last) << threads;
    EXPECT_EQ(codes, expected_codes) << threads;
  }
}

TEST(Parallel, RoundsEveryNumber) {
  const Floats x = noise(100003, 4);
  std::vector<uint16_t> y(x.size());
  ThreadPool pool(3);
  round_rows(pool, best(), x.data(), static_cast<int64_t>(x.size()), y.data());
  EXPECT_EQ(y, rounded(x));
}

}  // namespace
}  // namespace candor::engine
