// bfloat16 at every level: rounding bit for bit, products against a sum in double and bit for bit against themselves
// under every way of splitting rows, panels and depth.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

using Halves = std::vector<uint16_t>;

Halves half_noise(int64_t n, uint32_t seed) {
  Halves out;
  for (const float x : noise(n, seed)) out.push_back(float_to_bfloat16(x));
  return out;
}

TEST(Bf16, RoundingIsTheSameAtEveryLevel) {
  for (const Kernels* kernels : levels()) {
    Floats x;
    for (uint32_t upper = 0; upper < 0x10000; upper += 3)  // all exponents, infinities and NaN included
      for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
        x.push_back(std::bit_cast<float>(upper << 16 | lower));
    for (const size_t n : {size_t{1}, size_t{7}, size_t{16}, size_t{37}, x.size()}) {
      Halves y(n + 1, 0x1234);
      kernels->round_bf16(x.data(), static_cast<int64_t>(n), y.data());
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], float_to_bfloat16(x[i])) << kernels->name << " " << std::bit_cast<uint32_t>(x[i]);
      EXPECT_EQ(y[n], 0x1234);
      Floats back(n + 1, 7.0f);
      kernels->widen_bf16(y.data(), static_cast<int64_t>(n), back.data());
      for (size_t i = 0; i < n; ++i)
        ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), static_cast<uint32_t>(y[i]) << 16) << kernels->name;
      EXPECT_EQ(back[n], 7.0f);
    }
  }
}

struct Problem {
  Halves a, b;
  Floats c;
  Bf16Matmul m;
};

Problem problem(int64_t rows, int64_t panels, int64_t depth, bool accumulate) {
  Problem p;
  p.m.rows = rows, p.m.panels = panels, p.m.depth = depth, p.m.accumulate = accumulate;
  p.m.a_row = depth + 6;
  p.m.b_panel = depth * kPanel;
  p.m.c_row = panels * kPanel + 16;
  p.a = half_noise(rows * p.m.a_row, 1);
  p.b = half_noise(panels * p.m.b_panel, 2);
  p.c = noise(rows * p.m.c_row, 3);
  return p;
}

Floats product(const Kernels& kernels, const Problem& p) {
  Bf16Matmul m = p.m;
  Floats c = p.c;
  m.a = p.a.data(), m.b = p.b.data(), m.c = c.data();
  kernels.bf16_matmul(m);
  return c;
}

TEST(Bf16Matmul, EqualsTheSumInDouble) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 200}) {
      for (const int64_t panels : {1, 4, 7}) {
        for (const int64_t depth : {2, 64, 330}) {
          const bool accumulate = (rows + panels + depth / 2) % 2 == 0;
          const Problem p = problem(rows, panels, depth, accumulate);
          const Floats c = product(*kernels, p);
          double worst = 0;
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < p.m.c_row; ++j) {
              const auto at = static_cast<size_t>(i * p.m.c_row + j);
              if (j >= panels * kPanel) {  // beyond the panels nothing is written
                ASSERT_EQ(c[at], p.c[at]);
                continue;
              }
              double sum = accumulate ? p.c[at] : 0.0;
              for (int64_t k = 0; k < depth; ++k)
                sum +=
                    static_cast<double>(bfloat16_to_float(p.a[static_cast<size_t>(i * p.m.a_row + k)])) *
                    bfloat16_to_float(p.b[static_cast<size_t>(j / 16 * p.m.b_panel + k / 2 * 32 + j % 16 * 2 + k % 2)]);
              worst = std::max(worst, std::abs(c[at] - sum));
            }
          }
          // Partial sums of such terms stay below sqrt(depth); each step rounds it by 2^-24, and steps add up at worst
          // in a straight line.
          ASSERT_LE(worst, std::ldexp(static_cast<double>(depth) * std::sqrt(depth), -24) + 1e-7)
              << kernels->name << " rows " << rows << " panels " << panels << " depth " << depth;
        }
      }
    }
  }
}

void expect_same_bits(const Floats& x, const Floats& y, const char* what) {
  ASSERT_EQ(x.size(), y.size());
  ASSERT_EQ(std::memcmp(x.data(), y.data(), x.size() * sizeof(float)), 0) << what;
}

TEST(Bf16Matmul, BitsDoNotDependOnHowTheWorkIsSplit) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t rows : {1, 2, 3, 5, 7, 8, 14, 47, 205}) {
      const int64_t panels = 9, depth = 700;
      const Problem p = problem(rows, panels, depth, rows % 2 == 0);
      const Floats whole = product(*kernels, p);
      Floats c = p.c;
      for (int64_t i = 0; i < rows; ++i) {
        Bf16Matmul row = p.m;
        row.rows = 1, row.a = p.a.data() + i * row.a_row, row.b = p.b.data(), row.c = c.data() + i * row.c_row;
        kernels->bf16_matmul(row);
      }
      expect_same_bits(whole, c, "row by row");
      for (const int64_t step : {1, 2, 4, 5}) {
        c = p.c;
        for (int64_t j = 0; j < panels; j += step) {
          Bf16Matmul part = p.m;
          part.panels = std::min(step, panels - j);
          part.a = p.a.data(), part.b = p.b.data() + j * part.b_panel, part.c = c.data() + j * kPanel;
          kernels->bf16_matmul(part);
        }
        expect_same_bits(whole, c, "panels in groups");
      }
      for (const int64_t step : {2, 16, 192, 334}) {
        c = p.c;
        for (int64_t k = 0; k < depth; k += step) {
          Bf16Matmul part = p.m;
          part.depth = std::min(step, depth - k);
          part.a = p.a.data() + k, part.b = p.b.data() + k * kPanel, part.c = c.data();
          part.accumulate = p.m.accumulate || k > 0;
          kernels->bf16_matmul(part);
        }
        expect_same_bits(whole, c, "depth in parts");
      }
    }
  }
}

// Few rows take the depth in blocks only where it is very deep.
TEST(Bf16Matmul, VeryDeepRowsKeepTheirBits) {
  for (const Kernels* kernels : levels()) {
    const Problem p = problem(4, 1, 41000, false);
    const Floats whole = product(*kernels, p);
    Floats c = p.c;
    for (int64_t i = 0; i < 4; ++i) {
      Bf16Matmul row = p.m;
      row.rows = 1, row.a = p.a.data() + i * row.a_row, row.b = p.b.data(), row.c = c.data() + i * row.c_row;
      kernels->bf16_matmul(row);
    }
    expect_same_bits(whole, c, kernels->name);
  }
}

TEST(Bf16Matmul, DepthZeroIsAnEmptySum) {
  for (const Kernels* kernels : levels()) {
    Floats c = noise(2 * 32, 7);
    const Floats before = c;
    Bf16Matmul m{.c = c.data(), .c_row = 32, .rows = 2, .panels = 2, .depth = 0, .accumulate = true};
    kernels->bf16_matmul(m);
    EXPECT_EQ(c, before);
    m.accumulate = false;
    kernels->bf16_matmul(m);
    EXPECT_EQ(c, Floats(2 * 32, 0.0f));
  }
}

TEST(Bf16Matmul, ANanReachesItsOwnRowOnly) {
  for (const Kernels* kernels : levels()) {
    Problem p = problem(13, 2, 64, false);
    p.a[static_cast<size_t>(5 * p.m.a_row + 30)] = 0x7fc0;
    const Floats c = product(*kernels, p);
    for (int64_t i = 0; i < 13; ++i)
      for (int64_t j = 0; j < 32; ++j) EXPECT_EQ(std::isnan(c[static_cast<size_t>(i * p.m.c_row + j)]), i == 5);
  }
}

TEST(Bf16Transpose, MovesEveryElement) {
  for (const Kernels* kernels : levels()) {
    Halves in, out(256);
    for (uint16_t i = 0; i < 256; ++i) in.push_back(i);
    kernels->bf16_transpose_block(in.data(), out.data());
    for (size_t k = 0; k < 16; ++k)
      for (size_t j = 0; j < 16; ++j)
        ASSERT_EQ(out[j / 2 * 32 + 2 * k + j % 2], in[k / 2 * 32 + 2 * j + k % 2]) << kernels->name;
  }
}

}  // namespace
}  // namespace candor::engine
