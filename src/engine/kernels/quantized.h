// Quantized weights and activations as the integer kernels read them (docs/adr/0009).
//
// A weight is w = (q - zero)·d or w = q·d + m, q an unsigned code of 4 or 8 bits; `group` inputs of one output share d
// and m. A panel holds 16 outputs: their codes four inputs at a time, [16][4] bytes, which is what one step of vpdpbusd
// reads, then the scales. Of 4-bit codes one such step holds two: the low halves are inputs k, the high halves
// k + group/2.
//
// Activations are signed codes of 8 bits, x = c·s, 32 inputs of one row sharing s. A product adds, group by group in
// order and in one chain per output,
//   y = fma(float(Σ (q - zero)·c)·d, s, y),  and where there is a minimum  y = fma(m, s·Σc, y).
// The sums of integers are exact in any order, so every level has the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace candor::engine {

inline constexpr int64_t kQuantizedGroup = 32;  // inputs; of activations always
inline constexpr int64_t kLanes = 16;           // outputs of a panel

inline constexpr int64_t quantized_depth(int64_t in) {
  return (in + kQuantizedGroup - 1) / kQuantizedGroup * kQuantizedGroup;
}

// How one matrix's weights are coded. Its sizes are of one panel, in bytes, for a depth in multiples of 32.
struct QuantizedFormat {
  int bits = 8;          // of a code: 8 or 4
  int group = 32;        // inputs that share a scale: 32 or 16
  int zero = 128;        // the code that means 0, where there is no minimum
  bool minimum = false;  // m per group and output
  bool nested = false;   // d = float16 of 256 inputs × signed byte of a group, and so m; otherwise both are float16

  bool operator==(const QuantizedFormat&) const = default;
  int64_t code_bytes(int64_t depth) const { return depth * kLanes * bits / 8; }
  // Of d; those of m follow, as large.
  int64_t scale_bytes(int64_t depth) const { return aligned(depth / group * kLanes * (nested ? 1 : 2)); }
  // Nested: of the float16 factors of d; those of m follow, as large.
  int64_t factor_bytes(int64_t depth) const { return nested ? aligned((depth + 255) / 256 * kLanes * 2) : 0; }
  int64_t panel_bytes(int64_t depth) const {
    return aligned(code_bytes(depth)) + (minimum ? 2 : 1) * (scale_bytes(depth) + factor_bytes(depth));
  }
  static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }
};

// Where the parts of one panel lie.
struct QuantizedPanel {
  QuantizedPanel(const QuantizedFormat& format, int64_t depth, const uint8_t* panel)
      : codes(panel),
        scales(codes + QuantizedFormat::aligned(format.code_bytes(depth))),
        minimums(scales + format.scale_bytes(depth)),
        scale_factors(minimums + (format.minimum ? format.scale_bytes(depth) : 0)),
        minimum_factors(scale_factors + format.factor_bytes(depth)) {}
  const uint8_t *codes, *scales, *minimums, *scale_factors, *minimum_factors;
};

// The place of input k of output `lane` among a panel's codes; of 4-bit codes also which half of the byte.
struct CodePlace {
  int64_t byte;
  int shift;
};
inline CodePlace code_place(const QuantizedFormat& format, int64_t k, int64_t lane) {
  if (format.bits == 8) return {k / 4 * 64 + lane * 4 + k % 4, 0};
  const int64_t half = format.group / 2, in_group = k % format.group, low = in_group % half;
  return {(k - in_group) * kLanes / 2 + low / 4 * 64 + lane * 4 + low % 4, in_group < half ? 0 : 4};
}

// What products read of 32 activations beside their codes. The sums are over the codes.
struct ActivationGroup {
  float scale;           // max|x|/127; NaN where a number is not finite
  int32_t sum;           // of all 32
  int32_t half_sums[2];  // of each 16
  float scaled_sum;      // scale·sum, rounded once
  float scaled_halves[2];
  float unused;
};
static_assert(sizeof(ActivationGroup) == kQuantizedGroup);

// What 32 activations are multiplied by to give codes, and their scale; of `largest`, the bits of their largest
// magnitude, among which NaN counts as larger than infinity. A factor of 0 means codes of 0: all are zeros (or so small
// that 127/max would not be finite), or one is not finite.
struct ActivationScale {
  float factor, scale;
};
inline __attribute__((always_inline)) ActivationScale activation_scale(uint32_t largest) {
  constexpr float kLeastMaximum = 0x1p-100f;
  float maximum = 0;
  __builtin_memcpy(&maximum, &largest, sizeof(maximum));
  if (largest >= 0x7f800000u) return {0.0f, __builtin_nanf("")};
  return maximum < kLeastMaximum ? ActivationScale{0.0f, 0.0f} : ActivationScale{127.0f / maximum, maximum / 127.0f};
}
// sum0, sum1: of the codes of each 16.
inline __attribute__((always_inline)) ActivationGroup activation_group(float scale, int32_t sum0, int32_t sum1) {
  const int32_t sum = sum0 + sum1;
  return {scale,
          sum,
          {sum0, sum1},
          scale * static_cast<float>(sum),
          {scale * static_cast<float>(sum0), scale * static_cast<float>(sum1)},
          0.0f};
}

// A row of activations: [depth] codes, then [depth/32] groups, as many bytes again.
inline constexpr int64_t quantized_row_bytes(int64_t in) {
  return 2 * quantized_depth(in);
}
inline const ActivationGroup* activation_groups(const uint8_t* row, int64_t depth) {
  return reinterpret_cast<const ActivationGroup*>(row + depth);
}

// A whole quantized matrix.
struct QuantizedWeights {
  QuantizedFormat format;
  const uint8_t* panels = nullptr;  // panel_bytes each
  int64_t panel_bytes = 0;
  int64_t in = 0;  // weights of inputs beyond it mean nothing

  int64_t depth() const { return quantized_depth(in); }
};

// The first weights.in weights of one output, with the bits of Kernels::dequantize.
void dequantize_row(const QuantizedWeights& weights, int64_t row, float* to);

// C[i, 16p + j] = (accumulate ? C : 0) + the sum above, over the whole depth, of row i and output 16p + j.
struct Int8Matmul {
  const uint8_t* a = nullptr;  // rows of a_row bytes (quantize_row)
  int64_t a_row = 0;
  QuantizedFormat format;
  const uint8_t* b = nullptr;  // panels of b_panel bytes
  int64_t b_panel = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  int64_t rows = 0, panels = 0, depth = 0;  // depth in multiples of 32
  bool accumulate = false;
};

}  // namespace candor::engine
