// Quantized weights and activations as their formulas read (quantized.h).
#include "engine/kernels/int8_levels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace candor::engine::plain {

namespace {

float half_at(const uint8_t* halves, int64_t i) {
  uint16_t bits = 0;
  std::memcpy(&bits, halves + 2 * i, sizeof(bits));
  return half_to_float(bits);
}

// d or m of one group and lane.
float scale_at(const QuantizedFormat& format, const uint8_t* scales, const uint8_t* factors, int64_t group,
               int64_t lane) {
  if (!format.nested) return half_at(scales, group * kLanes + lane);
  const auto scale = static_cast<float>(static_cast<int8_t>(scales[group * kLanes + lane]));
  return half_at(factors, group * format.group / 256 * kLanes + lane) * scale;
}

int code_at(const QuantizedFormat& format, const uint8_t* codes, int64_t k, int64_t lane) {
  const CodePlace place = code_place(format, k, lane);
  return codes[place.byte] >> place.shift & (format.bits == 8 ? 0xff : 0x0f);
}

// float32 of weights [k, k + count) of one lane, all of one group, `stride` apart.
void dequantize_lane(const QuantizedFormat& format, const QuantizedPanel& panel, int64_t k, int64_t count, int64_t lane,
                     float* out, int64_t stride) {
  const int64_t group = k / format.group;
  const float d = scale_at(format, panel.scales, panel.scale_factors, group, lane);
  const float m = format.minimum ? scale_at(format, panel.minimums, panel.minimum_factors, group, lane) : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const int code = code_at(format, panel.codes, k + i, lane);
    out[i * stride] = format.minimum ? static_cast<float>(code) * d + m : static_cast<float>(code - format.zero) * d;
  }
}

// float32 of weights [k, k + 16) of a panel: out [16][16].
void dequantize_16(const QuantizedFormat& format, const QuantizedPanel& panel, int64_t k, float* out) {
  for (int64_t lane = 0; lane < kLanes; ++lane) dequantize_lane(format, panel, k, 16, lane, out + lane, kLanes);
}

void quantize_row(const float* x, int64_t n, uint8_t* row) {
  const int64_t depth = quantized_depth(n);
  auto* groups = reinterpret_cast<ActivationGroup*>(row + depth);
  for (int64_t k = 0; k < depth; k += kQuantizedGroup, ++groups) {
    const int64_t count = std::min(kQuantizedGroup, n - k);
    uint32_t largest = 0;  // of the magnitudes, as bits: NaN lies above infinity
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<uint32_t>(x[k + i]) & 0x7fffffffu);
    const auto [factor, scale] = activation_scale(largest);
    int32_t sums[2] = {};
    for (int64_t i = 0; i < kQuantizedGroup; ++i) {
      const auto code = factor != 0 && i < count ? static_cast<int8_t>(std::nearbyint(x[k + i] * factor)) : int8_t{0};
      row[k + i] = static_cast<uint8_t>(code);
      sums[i / 16] += code;
    }
    *groups = activation_group(scale, sums[0], sums[1]);
  }
}

void int8_matmul(const Int8Matmul& m) {
  const QuantizedFormat& f = m.format;
  int codes[kQuantizedGroup][kLanes];
  float d[kLanes] = {}, least[kLanes] = {};
  for (int64_t p = 0; p < m.panels; ++p) {
    const QuantizedPanel panel(f, m.depth, m.b + p * m.b_panel);
    for (int64_t group = 0; group < m.depth / f.group; ++group) {
      const int64_t k = group * f.group;
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        d[lane] = scale_at(f, panel.scales, panel.scale_factors, group, lane);
        if (f.minimum) least[lane] = scale_at(f, panel.minimums, panel.minimum_factors, group, lane);
        for (int64_t j = 0; j < f.group; ++j)
          codes[j][lane] = code_at(f, panel.codes, k + j, lane) - (f.minimum ? 0 : f.zero);
      }
      for (int64_t i = 0; i < m.rows; ++i) {
        const uint8_t* row = m.a + i * m.a_row;
        const ActivationGroup& x = activation_groups(row, m.depth)[k / kQuantizedGroup];
        int32_t sums[kLanes] = {};
        for (int64_t j = 0; j < f.group; ++j)
          for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += codes[j][lane] * static_cast<int8_t>(row[k + j]);
        float* c = m.c + i * m.c_row + p * kLanes;
        for (int64_t lane = 0; lane < kLanes; ++lane) {
          const float y = group == 0 && !m.accumulate ? 0.0f : c[lane];
          c[lane] = std::fma(static_cast<float>(sums[lane]) * d[lane], x.scale, y);
          if (!f.minimum) continue;
          c[lane] =
              std::fma(least[lane], f.group == kQuantizedGroup ? x.scaled_sum : x.scaled_halves[k / 16 % 2], c[lane]);
        }
      }
    }
  }
}

void dequantize(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                float* out) {
  const QuantizedPanel parts(format, depth, panel);
  for (int64_t i = 0; i < count; i += 16) dequantize_16(format, parts, k + i, out + i * kLanes);
}

void dequantize_bf16(const QuantizedFormat& format, int64_t depth, const uint8_t* panel, int64_t k, int64_t count,
                     uint16_t* out) {
  const QuantizedPanel parts(format, depth, panel);
  float block[16 * kLanes];
  for (int64_t i = 0; i < count; i += 16) {
    dequantize_16(format, parts, k + i, block);
    for (int64_t j = 0; j < 16; ++j)
      for (int64_t lane = 0; lane < kLanes; ++lane)
        out[(i + j) / 2 * (2 * kLanes) + 2 * lane + j % 2] = float_to_bfloat16(block[j * kLanes + lane]);
  }
}

}  // namespace

void add_int8(Kernels& kernels) {
  kernels.quantize_row = quantize_row;
  kernels.int8_matmul = int8_matmul;
  kernels.dequantize = dequantize;
  kernels.dequantize_bf16 = dequantize_bf16;
}

}  // namespace candor::engine::plain

namespace candor::engine {

void dequantize_row(const QuantizedWeights& weights, int64_t row, float* to) {
  const QuantizedPanel panel(weights.format, weights.depth(), weights.panels + row / kLanes * weights.panel_bytes);
  for (int64_t k = 0; k < weights.in; k += 16)
    plain::dequantize_lane(weights.format, panel, k, std::min<int64_t>(16, weights.in - k), row % kLanes, to + k, 1);
}

}  // namespace candor::engine
