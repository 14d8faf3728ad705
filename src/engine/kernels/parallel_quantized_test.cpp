// Products with quantized weights over threads, at every level: against one call of the kernel, and where weights are
// dequantized, against the same product with the whole matrix dequantized, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/kernels/parallel.h"
#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

const QuantizedFormat kFormats[] = {
    {.bits = 8, .group = 32, .zero = 128},
    {.bits = 4, .group = 32, .minimum = true},
    {.bits = 8, .group = 16, .zero = 32, .nested = true},
};

// A quantized weight [out, in] of random codes and small scales, and the same as floats and as bfloat16 pairs.
struct Weight {
  QuantizedFormat format;
  int64_t out, in;
  std::vector<uint8_t> panels;
  Floats whole;                 // [out/16][padded(in)][16]
  std::vector<uint16_t> pairs;  // [out/16][padded(in)/2][16][2]

  Weight(const QuantizedFormat& f, int64_t out_, int64_t in_) : format(f), out(out_), in(in_) {
    const int64_t depth = quantized_depth(in), size = f.panel_bytes(depth), width = padded(in);
    panels.resize(static_cast<size_t>(out / kPanel * size));
    uint32_t state = 5;
    for (uint8_t& byte : panels) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<uint8_t>(state >> 24);
    }
    const Kernels& kernels = plain_kernels();
    for (int64_t p = 0; p < out / kPanel; ++p) {
      uint8_t* panel = panels.data() + p * size;
      const QuantizedPanel parts(f, depth, panel);
      const int64_t halves = (f.nested ? parts.scale_factors : parts.scales) - panel;
      for (int64_t at = halves; at < size; at += 2) panel[at + 1] = static_cast<uint8_t>((panel[at + 1] & 0x83) | 0x18);
      Floats block(static_cast<size_t>(width * kPanel));
      kernels.dequantize(f, depth, panel, 0, width, block.data());
      std::fill(block.begin() + in * kPanel, block.end(), 0.0f);
      whole.insert(whole.end(), block.begin(), block.end());
    }
    for (int64_t at = 0; at < static_cast<int64_t>(whole.size()); at += 2 * kPanel)
      for (int64_t j = 0; j < kPanel; ++j)
        for (int64_t odd = 0; odd < 2; ++odd) {
          uint16_t bits = 0;
          kernels.round_bf16(&whole[static_cast<size_t>(at + odd * kPanel + j)], 1, &bits);
          pairs.push_back(bits);
        }
  }
  QuantizedWeights view() const { return {format, panels.data(), format.panel_bytes(quantized_depth(in)), in}; }
};

struct Input {
  Floats x;
  std::vector<uint16_t> rounded;
  std::vector<uint8_t> quantized;
  Input(const Kernels& kernels, int64_t rows, int64_t in) : x(noise(rows * padded(in), 9)) {
    const int64_t width = padded(in);
    for (int64_t i = 0; i < rows; ++i) std::fill_n(x.begin() + i * width + in, width - in, 0.0f);
    rounded.resize(x.size());
    kernels.round_bf16(x.data(), static_cast<int64_t>(x.size()), rounded.data());
    quantized.resize(static_cast<size_t>(rows * quantized_row_bytes(in)));
    ThreadPool pool(2);
    quantize_rows(pool, kernels, x.data(), rows, width, quantized.data());
  }
};

TEST(ParallelQuantized, ProductsEqualOneCallAndTheDequantizedMatrix) {
  for (const Kernels* kernels : levels()) {
    for (const QuantizedFormat& format : kFormats) {
      const int64_t rows = 37, out = 96, in = format.nested ? 512 : 328, width = padded(in);
      const Weight weight(format, out, in);
      const Input input(*kernels, rows, in);
      const size_t size = static_cast<size_t>(rows * out);
      const Matmul whole{.a = input.x.data(),
                         .a_row = width,
                         .b = weight.whole.data(),
                         .b_panel = width * kPanel,
                         .c_row = out,
                         .rows = rows,
                         .panels = out / kPanel,
                         .depth = width};
      const Bf16Matmul half{.a = input.rounded.data(),
                            .a_row = width,
                            .b = weight.pairs.data(),
                            .b_panel = width * kPanel,
                            .c_row = out,
                            .rows = rows,
                            .panels = out / kPanel,
                            .depth = width};
      const Int8Matmul bytes{.a = input.quantized.data(),
                             .a_row = quantized_row_bytes(in),
                             .format = format,
                             .b = weight.panels.data(),
                             .b_panel = weight.view().panel_bytes,
                             .c_row = out,
                             .rows = rows,
                             .panels = out / kPanel,
                             .depth = quantized_depth(in)};
      Floats c[3] = {Floats(size), Floats(size), Floats(size)};
      auto to = [](auto product, Floats& where) {
        product.c = where.data();
        return product;
      };
      run_matmul(*kernels, to(whole, c[0]));
      run_matmul(*kernels, to(half, c[1]));
      run_matmul(*kernels, to(bytes, c[2]));
      EXPECT_NE(c[0], c[1]);
      EXPECT_NE(c[1], c[2]);
      for (const int threads : {1, 2, 3}) {
        Floats ours[3] = {Floats(size), Floats(size), Floats(size)};
        ThreadPool pool(threads);
        Matmuls all;
        all.add(DequantizedMatmul{to(whole, ours[0]), weight.view()});
        all.add(DequantizedBf16Matmul{to(half, ours[1]), weight.view()});
        all.add(to(bytes, ours[2]));
        run_matmuls(pool, *kernels, all);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(ours[i], c[i]) << kernels->name << " " << threads << " " << i;
      }
    }
  }
}

TEST(ParallelQuantized, TransposedProductsEqualThoseOfTheDequantizedMatrix) {
  for (const Kernels* kernels : levels()) {
    for (const QuantizedFormat& format : kFormats) {
      const int64_t rows = 23, out = 96, in = format.nested ? 512 : 328, width = padded(in);
      const Weight weight(format, out, in);
      const Input dy(*kernels, rows, out);
      const QuantizedWeights view = weight.view();
      auto dx_of = [&](const auto* weights, const auto* rounded, int threads) {
        using Number = std::remove_const_t<std::remove_pointer_t<decltype(weights)>>;
        Floats dx(static_cast<size_t>(rows * width), 7.0f);
        TransposedProduct<Number> product{.dy = rounded,
                                          .dy_row = out,
                                          .weight = weights,
                                          .rows = rows,
                                          .out = out,
                                          .in = width,
                                          .dx = dx.data(),
                                          .dx_row = width};
        if (threads > 0) product.quantized = &view;
        ThreadPool pool(std::max(threads, 1));
        run_transposed_matmuls(pool, *kernels, std::span<const TransposedProduct<Number>>(&product, 1));
        return dx;
      };
      const Floats whole = dx_of(weight.whole.data(), dy.x.data(), 0);
      const Floats half = dx_of(weight.pairs.data(), dy.rounded.data(), 0);
      EXPECT_NE(whole, half);
      for (const int threads : {1, 3}) {
        EXPECT_EQ(dx_of(weight.whole.data(), dy.x.data(), threads), whole) << kernels->name;
        EXPECT_EQ(dx_of(weight.pairs.data(), dy.rounded.data(), threads), half) << kernels->name;
      }
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t k = in; k < width; ++k) EXPECT_EQ(whole[i * width + k], 0.0f);
    }
  }
}

}  // namespace
}  // namespace candor::engine
