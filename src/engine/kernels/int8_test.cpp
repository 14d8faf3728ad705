// Quantized weights and activations: the plain level against the definition in kernels/quantized.h written out with
// exact integers, and every other level against the plain one, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

using Bytes = std::vector<uint8_t>;

// Every kind of format that quantized_blocks.cpp makes.
const QuantizedFormat kFormats[] = {
    {.bits = 8, .group = 32, .zero = 128},
    {.bits = 8, .group = 32, .minimum = true},
    {.bits = 4, .group = 32, .zero = 8},
    {.bits = 4, .group = 32, .minimum = true},
    {.bits = 4, .group = 32, .minimum = true, .nested = true},
    {.bits = 8, .group = 32, .minimum = true, .nested = true},
    {.bits = 8, .group = 16, .zero = 32, .nested = true},
    {.bits = 4, .group = 16, .minimum = true, .nested = true},
    {.bits = 4, .group = 16, .zero = 4, .nested = true},
};

std::string name_of(const QuantizedFormat& f) {
  return fmt::format("{} bits, groups of {}, zero {}{}{}", f.bits, f.group, f.zero, f.minimum ? ", minimum" : "",
                     f.nested ? ", nested" : "");
}

Bytes random_bytes(int64_t n, uint32_t seed) {
  Bytes out(static_cast<size_t>(n));
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& byte : out) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return out;
}

// Panels of random codes and finite scales of both signs.
Bytes random_panels(const QuantizedFormat& f, int64_t depth, int64_t panels, uint32_t seed) {
  const int64_t size = f.panel_bytes(depth);
  Bytes out = random_bytes(panels * size, seed);
  for (int64_t p = 0; p < panels; ++p) {
    uint8_t* panel = out.data() + p * size;
    const QuantizedPanel parts(f, depth, panel);
    const uint8_t* halves = f.nested ? parts.scale_factors : parts.scales;
    for (uint8_t* at = panel + (halves - panel); at < panel + size; at += 2) {
      uint16_t half = 0;
      std::memcpy(&half, at, 2);
      half = static_cast<uint16_t>((half & 0x83ff) | 0x2000);  // ±2^-7 and up
      std::memcpy(at, &half, 2);
    }
  }
  return out;
}

struct Problem {
  QuantizedFormat format;
  int64_t rows, panels, depth;
  bool accumulate;
  Bytes a, b;
  Floats c;
  int64_t row_bytes() const { return quantized_row_bytes(depth) + 64; }
  int64_t c_row() const { return panels * kPanel + 16; }
};

Problem problem(const QuantizedFormat& format, int64_t rows, int64_t panels, int64_t depth, bool accumulate) {
  Problem p{format, rows, panels, depth, accumulate, {}, {}, {}};
  p.a.resize(static_cast<size_t>(rows * p.row_bytes()));
  for (int64_t i = 0; i < rows; ++i) {
    Floats x = noise(depth, static_cast<uint32_t>(i) + 7);
    if (i % 3 == 0 && depth > 32) std::fill_n(x.begin(), 32, 0.0f);
    plain_kernels().quantize_row(x.data(), depth, p.a.data() + i * p.row_bytes());
  }
  p.b = random_panels(format, depth, panels, 11);
  p.c = noise(rows * p.c_row(), 3);
  return p;
}

Floats product(const Kernels& kernels, const Problem& p) {
  Floats c = p.c;
  kernels.int8_matmul({.a = p.a.data(),
                       .a_row = p.row_bytes(),
                       .format = p.format,
                       .b = p.b.data(),
                       .b_panel = p.format.panel_bytes(p.depth),
                       .c = c.data(),
                       .c_row = p.c_row(),
                       .rows = p.rows,
                       .panels = p.panels,
                       .depth = p.depth,
                       .accumulate = p.accumulate});
  return c;
}

// Of the whole: dequantized weights times dequantized activations, in double.
enum class Twin { kNone, kNeighboursScale, kNoMinimum, kSaturated };
double expected(const Problem& p, int64_t i, int64_t column, Twin twin) {
  const QuantizedFormat& f = p.format;
  const uint8_t* row = p.a.data() + i * p.row_bytes();
  const ActivationGroup* groups = activation_groups(row, p.depth);
  const uint8_t* panel = p.b.data() + column / kPanel * f.panel_bytes(p.depth);
  double sum = p.accumulate ? p.c[i * p.c_row() + column] : 0.0;
  Floats w(static_cast<size_t>(p.depth * kPanel));
  QuantizedFormat format = f;
  if (twin == Twin::kNoMinimum) format.minimum = false, format.zero = 0;  // the parts lie as they did, unless nested
  plain_kernels().dequantize(format, p.depth, panel, 0, p.depth, w.data());
  for (int64_t k = 0; k < p.depth; ++k) {
    const int64_t group = twin == Twin::kNeighboursScale ? (k / 32 + 1) % (p.depth / 32) : k / 32;
    double weight = w[k * kPanel + column % kPanel];
    if (twin == Twin::kSaturated) weight *= 32767.0 / (2 * 255 * 127);  // what a pair of 255·127 would come to
    sum += weight * static_cast<int8_t>(row[k]) * static_cast<double>(groups[group].scale);
  }
  return sum;
}

double worst_error(const Problem& p, const Floats& c, Twin twin) {
  double worst = 0;
  for (int64_t i = 0; i < p.rows; ++i)
    for (int64_t j = 0; j < p.panels * kPanel; ++j)
      worst = std::max(worst, std::abs(c[i * p.c_row() + j] - expected(p, i, j, twin)));
  return worst;
}

TEST(Int8Matmul, PlainIsTheProductOfTheDequantizedNumbers) {
  for (const QuantizedFormat& format : kFormats) {
    for (const int64_t depth : {32, 96, 512}) {
      const Problem p = problem(format, 3, 2, depth, depth == 96);
      const Floats c = product(plain_kernels(), p);
      // A group's term is at most 32·255·127 of d·s, about 2^20·2^-6·2^-7 (nested scales: ×127, 2^14), and is rounded a
      // few times by 2^-24; depth/16 of them add up.
      const double bound = std::ldexp(static_cast<double>(depth) / 16, -24 + (format.nested ? 15 : 9));
      EXPECT_LT(worst_error(p, c, Twin::kNone), bound) << name_of(format) << " depth " << depth;
      if (depth > 32) {
        EXPECT_GT(worst_error(p, c, Twin::kNeighboursScale), 4 * bound) << name_of(format);
      }
      if (format.minimum && !format.nested) {
        EXPECT_GT(worst_error(p, c, Twin::kNoMinimum), 4 * bound) << name_of(format);
      }
    }
  }
}

TEST(Int8Matmul, EveryLevelHasTheSameBits) {
  for (const QuantizedFormat& format : kFormats) {
    for (const int64_t rows : {1, 2, 3, 5, 6, 7, 13}) {
      for (const int64_t panels : {1, 2, 5}) {
        for (const int64_t depth : {32, 288, 512}) {
          const Problem p = problem(format, rows, panels, depth, (rows + panels) % 2 == 0);
          const Floats c = product(plain_kernels(), p);
          for (const Kernels* kernels : levels())
            ASSERT_EQ(product(*kernels, p), c) << kernels->name << ", " << name_of(format) << ", " << rows << " rows, "
                                               << panels << " panels, depth " << depth;
        }
      }
    }
  }
}

// Codes and activations at their ends: 255·127 added in pairs does not fit 16 bits, and a sign flipped on -128 stays.
TEST(Int8Matmul, NothingSaturatesAtTheEnds) {
  constexpr int64_t kDepth = 64;
  for (const QuantizedFormat& format : kFormats) {
    for (const int code : {0, 1, 15, 127, 128, 254, 255}) {
      for (const float sign : {1.0f, -1.0f}) {
        Problem p = problem(format, 7, 3, kDepth, false);
        const Floats x(kDepth, sign);  // codes ±127
        for (int64_t i = 0; i < p.rows; ++i)
          plain_kernels().quantize_row(x.data(), kDepth, p.a.data() + i * p.row_bytes());
        const auto byte = static_cast<uint8_t>(format.bits == 8 ? code : (code & 15) * 17);
        for (int64_t panel = 0; panel < p.panels; ++panel)
          std::fill_n(p.b.begin() + panel * format.panel_bytes(kDepth), format.code_bytes(kDepth), byte);
        const Floats c = product(plain_kernels(), p);
        EXPECT_LT(worst_error(p, c, Twin::kNone),
                  std::ldexp(16.0, -24 + (format.nested ? 15 : 9)))  // as above, all of one sign
            << name_of(format);
        if (format.bits == 8 && code == 255) {
          EXPECT_GT(worst_error(p, c, Twin::kSaturated), 0.1) << name_of(format);
        }
        for (const Kernels* kernels : levels())
          ASSERT_EQ(product(*kernels, p), c) << kernels->name << ", " << name_of(format) << ", code " << code;
      }
    }
  }
}

TEST(QuantizeRow, IsTheRuleAtEveryLevel) {
  for (const Kernels* kernels : levels()) {
    for (const int64_t n : {16, 32, 48, 576}) {
      Floats x = noise(n, 5);
      for (int64_t i = 0; i < n; ++i) x[i] *= std::ldexp(1.0f, static_cast<int>(i / 32 * 7 % 60) - 30);
      x[3] = 0.0f, x[5] = -0.0f;
      Bytes row(static_cast<size_t>(quantized_row_bytes(n)) + 8, 0xab), plain = row;
      kernels->quantize_row(x.data(), n, row.data());
      plain_kernels().quantize_row(x.data(), n, plain.data());
      ASSERT_EQ(row, plain) << kernels->name << " " << n;
      const int64_t depth = quantized_depth(n);
      const ActivationGroup* groups = activation_groups(row.data(), depth);
      for (int64_t g = 0; g < depth / 32; ++g) {
        float maximum = 0;
        int sum = 0;
        for (int64_t k = 32 * g; k < std::min(n, 32 * g + 32); ++k) maximum = std::max(maximum, std::abs(x[k]));
        EXPECT_EQ(groups[g].scale, maximum / 127.0f);
        for (int64_t k = 32 * g; k < 32 * g + 32; ++k) {
          const auto code = static_cast<int8_t>(row[k]);
          sum += code;
          const double exact = k < n ? 127.0 * static_cast<double>(x[k]) / static_cast<double>(maximum) : 0.0;
          EXPECT_LE(std::abs(code - exact), 0.5 + 1e-5);  // the product is rounded before it becomes an integer
        }
        EXPECT_EQ(groups[g].sum, sum);
        EXPECT_EQ(groups[g].half_sums[0] + groups[g].half_sums[1], sum);
        EXPECT_EQ(groups[g].scaled_sum, groups[g].scale * static_cast<float>(sum));
      }
    }
  }
}

TEST(QuantizeRow, TiesGoToEvenAndWhatIsNotFiniteStaysSo) {
  for (const Kernels* kernels : levels()) {
    Floats x(96, 0.0f);
    x[0] = 127, x[1] = 0.5f, x[2] = 1.5f, x[3] = 2.5f, x[4] = -0.5f, x[5] = -1.5f, x[6] = -127;
    x[40] = 1e-35f;  // below the least maximum: zeros
    Bytes row(static_cast<size_t>(quantized_row_bytes(96)));
    kernels->quantize_row(x.data(), 96, row.data());
    const std::vector<int> codes(reinterpret_cast<int8_t*>(row.data()), reinterpret_cast<int8_t*>(row.data()) + 7);
    EXPECT_EQ(codes, (std::vector<int>{127, 0, 2, 2, 0, -2, -127})) << kernels->name;
    EXPECT_EQ(activation_groups(row.data(), 96)[1].scale, 0.0f);
    EXPECT_EQ(activation_groups(row.data(), 96)[2].scale, 0.0f);
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      x[77] = bad;
      kernels->quantize_row(x.data(), 96, row.data());
      EXPECT_TRUE(std::isnan(activation_groups(row.data(), 96)[2].scale)) << kernels->name;
      EXPECT_EQ(activation_groups(row.data(), 96)[0].scale, 1.0f);
    }
  }
}

TEST(Dequantize, EveryLevelHasTheSameBits) {
  constexpr int64_t kDepth = 512;
  for (const QuantizedFormat& format : kFormats) {
    const Bytes panel = random_panels(format, kDepth, 1, 21);
    Floats whole(kDepth * kPanel);
    plain_kernels().dequantize(format, kDepth, panel.data(), 0, kDepth, whole.data());
    Floats row(kDepth);
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      dequantize_row({format, panel.data(), 0, kDepth}, lane, row.data());
      for (int64_t k = 0; k < kDepth; ++k) ASSERT_EQ(row[k], whole[k * kPanel + lane]);
    }
    for (const Kernels* kernels : levels()) {
      for (const auto& [k, count] : {std::pair<int64_t, int64_t>{0, kDepth}, {16, 48}, {272, 16}}) {
        Floats part(static_cast<size_t>(count * kPanel));
        kernels->dequantize(format, kDepth, panel.data(), k, count, part.data());
        ASSERT_EQ(part, Floats(whole.begin() + k * kPanel, whole.begin() + (k + count) * kPanel))
            << kernels->name << " " << name_of(format);
        std::vector<uint16_t> pairs(static_cast<size_t>(count * kPanel));
        kernels->dequantize_bf16(format, kDepth, panel.data(), k, count, pairs.data());
        for (int64_t i = 0; i < count; ++i)
          for (int64_t lane = 0; lane < kPanel; ++lane)
            ASSERT_EQ(pairs[i / 2 * 32 + 2 * lane + i % 2], float_to_bfloat16(part[i * kPanel + lane]))
                << kernels->name << " " << name_of(format);
      }
    }
  }
}

}  // namespace
}  // namespace candor::engine
