// What kernels.h says of the levels' bits: every function of the table on the same numbers at each of them, against
// avx2's. It lets a figure be repeated on another kind of machine.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

constexpr int64_t kWidths[] = {1, 7, 8, 9, 15, 16, 17, 24, 31, 37, 64, 83, 576};

// What one level makes of fixed numbers: everything that it writes or returns, one after the other.
using Outputs = std::vector<double>;

void append(Outputs& outputs, const Floats& x) {
  outputs.insert(outputs.end(), x.begin(), x.end());
}

Floats wide(int64_t n, uint32_t seed) {
  Floats x = noise(n, seed);
  for (float& v : x) v *= 30;
  return x;
}

Outputs rows(const Kernels& k, int64_t n) {
  Outputs out;
  const Floats x = wide(n, 1), y = wide(n, 2), w = noise(n, 3);
  Floats a = y, b = y, c = y;
  k.add(x.data(), n, a.data());
  k.axpy(0.3f, x.data(), n, b.data());
  k.scale(0.3f, n, c.data());
  append(out, a), append(out, b), append(out, c);
  k.multiply(x.data(), n, a.data());
  k.magnitude_backward({x.data(), y.data(), w.data(), w.data(), y.data(), w.data(), 1, n, n, a.data(), b.data()});
  append(out, a), append(out, b);
  out.push_back(k.sum_of_squares(x.data(), n));
  out.push_back(k.dot(x.data(), y.data(), n));
  out.push_back(k.rms_norm(x.data(), w.data(), 1e-5f, n, a.data()));
  k.rms_norm_backward(x.data(), w.data(), 0.3f, y.data(), n, b.data());
  append(out, a), append(out, b);
  k.silu_mul(x.data(), y.data(), n, a.data());
  k.silu_mul_backward(x.data(), y.data(), w.data(), n, b.data(), c.data());
  append(out, a), append(out, b), append(out, c);
  k.exp_row(x.data(), n, 1.3f, 2, a.data());
  append(out, a);
  Floats m = noise(n, 4), v = noise(n, 5);
  for (float& second : v) second = std::abs(second);
  k.adamw({0.01, 0.9, 0.999, 1e-8, 0.1, 0.19, 0.002, 0.25}, w.data(), n, c.data(), m.data(), v.data());
  append(out, c), append(out, m), append(out, v);
  return out;
}

Outputs attention(const Kernels& k, int64_t valid) {
  Outputs out;
  Floats scores = wide(16, 6), probabilities = wide(16, 7), dp = noise(16, 8);
  float maximum = 5, sum = 2;
  out.push_back(k.softmax_block(scores.data(), valid, 0.5f, &maximum, &sum));
  k.softmax_block_backward(probabilities.data(), dp.data(), valid, 0.25f, 5.5f, 0.3f);
  append(out, scores), append(out, probabilities), append(out, dp), append(out, {maximum, sum});
  Floats heads = wide(3 * 44, 9);
  const Floats cosine = noise(22, 10), sine = noise(22, 11);
  k.rope(heads.data(), cosine.data(), sine.data(), 3, 44, -1);
  Floats block(256);
  k.transpose_block(wide(256, 12).data(), block.data());
  append(out, heads), append(out, block);
  return out;
}

Outputs head(const Kernels& k, int64_t vocabulary) {
  Outputs out;
  Floats logits = wide(vocabulary, 13);
  HeadState state = initial_head_state();
  for (int64_t at = 0; at < vocabulary; at += 512)
    k.head_block(logits.data() + at, std::min<int64_t>(512, vocabulary - at), at, 1.25f, 3, &state);
  for (int64_t at = 0; at < vocabulary; at += 512)
    k.head_block_backward(logits.data() + at, std::min<int64_t>(512, vocabulary - at), at, 1.25f, 3,
                          {state.maximum + std::log(state.sum), 0.7f, 0.4f, -0.2f});
  append(out, logits);
  out.insert(out.end(), {state.maximum, state.sum, state.weighted_sum, state.target, double(state.argmax)});
  return out;
}

// m.a_row or m.a_k is 1; numbers of either kind of B.
Outputs product(const Kernels& k, int64_t row_count, int64_t panels, int64_t depth, bool transposed, bool packed_b) {
  const Floats a = noise(row_count * depth, 14), b = noise(panels * kPanel * depth, 15);
  Floats c = noise(row_count * panels * kPanel, 16);
  k.matmul({.a = a.data(),
            .a_row = transposed ? 1 : depth,
            .a_k = transposed ? row_count : 1,
            .b = b.data(),
            .b_k = packed_b ? kPanel : panels * kPanel,
            .b_panel = packed_b ? kPanel * depth : kPanel,
            .c = c.data(),
            .c_row = panels * kPanel,
            .rows = row_count,
            .panels = panels,
            .depth = depth,
            .accumulate = true});
  Outputs out;
  append(out, c);
  return out;
}

Outputs bf16_product(const Kernels& k, int64_t row_count, int64_t panels, int64_t depth) {
  std::vector<uint16_t> a, b;
  for (const float x : noise(row_count * depth, 17)) a.push_back(float_to_bfloat16(x));
  for (const float x : noise(panels * kPanel * depth, 18)) b.push_back(float_to_bfloat16(x));
  Floats c = noise(row_count * panels * kPanel, 19);
  k.bf16_matmul({.a = a.data(),
                 .a_row = depth,
                 .b = b.data(),
                 .b_panel = kPanel * depth,
                 .c = c.data(),
                 .c_row = panels * kPanel,
                 .rows = row_count,
                 .panels = panels,
                 .depth = depth,
                 .accumulate = true});
  Outputs out;
  append(out, c);
  return out;
}

void expect_the_bits_of_avx2(const Kernels& level) {
  auto expect_same = [&](auto&& run, const char* what, int64_t size) {
    const Outputs expected = run(*avx2_kernels()), got = run(level);
    ASSERT_EQ(expected.size(), got.size());
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(std::memcmp(&got[i], &expected[i], sizeof(double)), 0)
          << level.name << ": " << what << " " << size << ", number " << i;
  };
  for (const int64_t n : kWidths) expect_same([&](const Kernels& k) { return rows(k, n); }, "rows", n);
  for (int64_t n = 0; n <= 16; ++n) expect_same([&](const Kernels& k) { return attention(k, n); }, "attention", n);
  for (const int64_t n : {5, 163, 523, 1100}) expect_same([&](const Kernels& k) { return head(k, n); }, "head", n);
  for (const int64_t n : {1, 2, 3, 5, 8, 9, 16, 17, 45, 200, 401}) {
    for (const int64_t panels : {1, 2, 4, 5, 9}) {
      for (const int64_t depth : {1, 63, 600})
        for (const bool transposed : {false, true})
          for (const bool packed_b : {false, true})
            expect_same([&](const Kernels& k) { return product(k, n, panels, depth, transposed, packed_b); }, "product",
                        n);
      for (const int64_t depth : {2, 64, 1070})
        expect_same([&](const Kernels& k) { return bf16_product(k, n, panels, depth); }, "bf16_product", n);
    }
  }
}

TEST(Levels, Avx512HasTheBitsOfAvx2) {
  for (const Kernels* level : {avx512_kernels(), avx512_bf16_kernels()})
    if (level) expect_the_bits_of_avx2(*level);
}

// The one difference: vdpbf16ps reads 2^-127 as 0.
TEST(Levels, OnlyAvx512Bf16TakesDenormalNumbersForZero) {
  const std::vector<uint16_t> a = {0x0040, 0}, b(2 * kPanel, 0x3f80);
  for (const Kernels* level : levels()) {
    Floats c(kPanel);
    level->bf16_matmul(
        {.a = a.data(), .a_row = 2, .b = b.data(), .c = c.data(), .c_row = kPanel, .rows = 1, .panels = 1, .depth = 2});
    EXPECT_EQ(c[0], level == avx512_bf16_kernels() ? 0.0f : std::ldexp(1.0f, -127)) << level->name;
  }
}

}  // namespace
}  // namespace candor::engine
