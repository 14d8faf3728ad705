// The matrix product of every level: against a sum in double, and bit for bit against itself under every way of
// splitting rows, panels and depth that the engine uses.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

// The three layouts in use.
enum class Use { kForward, kKeys, kWeightGradient };

struct Problem {
  Floats a, b, c;
  Matmul m;
};

Problem problem(Use use, int64_t rows, int64_t panels, int64_t depth, bool accumulate) {
  Problem p;
  const int64_t columns = panels * kPanel;
  Matmul& m = p.m;
  m.rows = rows, m.panels = panels, m.depth = depth, m.accumulate = accumulate;
  m.c_row = columns + 16;
  if (use == Use::kWeightGradient) {
    m.a_row = 1, m.a_k = rows + 3;
    p.a = noise(depth * m.a_k + rows, 1);
  } else {
    m.a_row = depth + 5, m.a_k = 1;
    p.a = noise(rows * m.a_row + depth, 1);
  }
  if (use == Use::kForward) {
    m.b_k = kPanel, m.b_panel = depth * kPanel;
    p.b = noise(panels * m.b_panel, 2);
  } else {
    m.b_k = columns + 32, m.b_panel = kPanel;
    p.b = noise(depth * m.b_k + columns, 2);
  }
  p.c = noise(rows * m.c_row, 3);
  return p;
}

Floats product(const Kernels& kernels, const Problem& p) {
  Matmul m = p.m;
  Floats c = p.c;
  m.a = p.a.data(), m.b = p.b.data(), m.c = c.data();
  kernels.matmul(m);
  return c;
}

constexpr Use kUses[] = {Use::kForward, Use::kKeys, Use::kWeightGradient};

TEST(Matmul, EqualsTheSumInDouble) {
  for (const Kernels* kernels : levels()) {
    for (const Use use : kUses) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 200}) {
        for (const int64_t panels : {1, 4, 7}) {
          for (const int64_t depth : {1, 64, 330}) {
            const bool accumulate = (rows + panels + depth) % 2 == 0;
            const Problem p = problem(use, rows, panels, depth, accumulate);
            const Floats c = product(*kernels, p);
            double worst = 0;
            for (int64_t i = 0; i < rows; ++i) {
              for (int64_t j = 0; j < p.m.c_row; ++j) {
                const size_t at = static_cast<size_t>(i * p.m.c_row + j);
                if (j >= panels * kPanel) {  // beyond the panels nothing is written
                  ASSERT_EQ(c[at], p.c[at]);
                  continue;
                }
                double sum = accumulate ? p.c[at] : 0.0;
                for (int64_t k = 0; k < depth; ++k)
                  sum += static_cast<double>(p.a[static_cast<size_t>(i * p.m.a_row + k * p.m.a_k)]) *
                         p.b[static_cast<size_t>(j / kPanel * p.m.b_panel + k * p.m.b_k + j % kPanel)];
                worst = std::max(worst, std::abs(c[at] - sum));
              }
            }
            // Partial sums of such terms stay below sqrt(depth); each step rounds it by 2^-24, and steps add up at
            // worst in a straight line.
            ASSERT_LE(worst, std::ldexp(static_cast<double>(depth) * std::sqrt(depth), -24) + 1e-7)
                << kernels->name << " rows " << rows << " panels " << panels << " depth " << depth;
          }
        }
      }
    }
  }
}

void expect_same_bits(const Floats& x, const Floats& y, const char* what) {
  ASSERT_EQ(x.size(), y.size());
  ASSERT_EQ(std::memcmp(x.data(), y.data(), x.size() * sizeof(float)), 0) << what;
}

TEST(Matmul, BitsDoNotDependOnHowTheWorkIsSplit) {
  for (const Kernels* kernels : levels()) {
    for (const Use use : kUses) {
      for (const int64_t rows : {1, 2, 3, 5, 7, 8, 14, 47, 205}) {
        const int64_t panels = 9, depth = 700;
        const Problem p = problem(use, rows, panels, depth, rows % 2 == 0);
        const Floats whole = product(*kernels, p);

        Floats c = p.c;
        for (int64_t i = 0; i < rows; ++i) {
          Matmul row = p.m;
          row.rows = 1, row.a = p.a.data() + i * row.a_row, row.b = p.b.data(), row.c = c.data() + i * row.c_row;
          kernels->matmul(row);
        }
        expect_same_bits(whole, c, "row by row");

        for (const int64_t step : {1, 2, 4, 5}) {
          c = p.c;
          for (int64_t j = 0; j < panels; j += step) {
            Matmul part = p.m;
            part.panels = std::min(step, panels - j);
            part.a = p.a.data(), part.b = p.b.data() + j * part.b_panel, part.c = c.data() + j * kPanel;
            kernels->matmul(part);
          }
          expect_same_bits(whole, c, "panels in groups");
        }

        for (const int64_t step : {1, 16, 192, 333}) {
          c = p.c;
          for (int64_t k = 0; k < depth; k += step) {
            Matmul part = p.m;
            part.depth = std::min(step, depth - k);
            part.a = p.a.data() + k * part.a_k, part.b = p.b.data() + k * part.b_k, part.c = c.data();
            part.accumulate = p.m.accumulate || k > 0;
            kernels->matmul(part);
          }
          expect_same_bits(whole, c, "depth in parts");
        }
      }
    }
  }
}

// The same numbers in another layout and at another alignment are the same sums.
TEST(Matmul, BitsDoNotDependOnLayoutOrAlignment) {
  for (const Kernels* kernels : levels()) {
    const int64_t rows = 23, panels = 3, depth = 411;
    const Problem forward = problem(Use::kForward, rows, panels, depth, true);
    const Floats expected = product(*kernels, forward);
    for (const int64_t shift : {0, 1, 3}) {
      Problem other = problem(Use::kWeightGradient, rows, panels, depth, true);
      other.a.assign(other.a.size() + 8, 0.0f);
      other.b.assign(other.b.size() + 8, 0.0f);
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t i = 0; i < rows; ++i)
          other.a[static_cast<size_t>(shift + i + k * other.m.a_k)] =
              forward.a[static_cast<size_t>(i * forward.m.a_row + k)];
        for (int64_t j = 0; j < panels * kPanel; ++j)
          other.b[static_cast<size_t>(shift + k * other.m.b_k + j)] =
              forward.b[static_cast<size_t>(j / kPanel * forward.m.b_panel + k * kPanel + j % kPanel)];
      }
      Floats c(static_cast<size_t>(shift), 0.0f);
      c.insert(c.end(), forward.c.begin(), forward.c.end());
      Matmul m = other.m;
      m.a = other.a.data() + shift, m.b = other.b.data() + shift, m.c = c.data() + shift;
      kernels->matmul(m);
      expect_same_bits(expected, Floats(c.begin() + shift, c.end()), "transposed operands");
    }
  }
}

TEST(Matmul, DepthZeroIsAnEmptySum) {
  for (const Kernels* kernels : levels()) {
    Floats c = noise(2 * 32, 7);
    const Floats before = c;
    Matmul m{.b_panel = 16, .c = c.data(), .c_row = 32, .rows = 2, .panels = 2, .depth = 0, .accumulate = true};
    kernels->matmul(m);
    EXPECT_EQ(c, before);
    m.accumulate = false;
    kernels->matmul(m);
    EXPECT_EQ(c, Floats(2 * 32, 0.0f));
  }
}

TEST(Matmul, ANanReachesItsOwnRowOnly) {
  for (const Kernels* kernels : levels()) {
    Problem p = problem(Use::kForward, 13, 2, 64, false);
    p.a[static_cast<size_t>(5 * p.m.a_row + 30)] = std::nanf("");
    const Floats c = product(*kernels, p);
    for (int64_t i = 0; i < 13; ++i)
      for (int64_t j = 0; j < 32; ++j) EXPECT_EQ(std::isnan(c[static_cast<size_t>(i * p.m.c_row + j)]), i == 5);
  }
}

TEST(Transpose, MovesEveryElement) {
  for (const Kernels* kernels : levels()) {
    const Floats in = noise(256, 4);
    Floats out(256);
    kernels->transpose_block(in.data(), out.data());
    for (size_t j = 0; j < 16; ++j)
      for (size_t k = 0; k < 16; ++k) ASSERT_EQ(out[k * 16 + j], in[j * 16 + k]) << kernels->name;
  }
}

}  // namespace
}  // namespace candor::engine
