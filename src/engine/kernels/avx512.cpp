// The kernels for AVX-512 (F, BW, DQ and VL), all but the matrix products (avx512_matmul.cpp, avx512_bf16.cpp).
// Formulas are those of plain.cpp, orders those of avx2.cpp, so that both have the same bits (levels_test.cpp). Where
// there is no vdpbf16ps, bfloat16 is AVX2's own (avx2_bf16.cpp).
#include "engine/kernels/kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include "base/math.h"
#include "engine/kernels/avx2_matmul.h"
#include "engine/kernels/avx512_math.h"
#include "engine/kernels/avx512_matmul.h"
#include "engine/kernels/int8_levels.h"

namespace candor::engine {

namespace {

using namespace avx512;

// Four columns of `in` become four rows of `out`. Rows i, i + 4, i + 8 and i + 12 share a register from the start, so
// that two rounds of shuffles are left.
void transpose_4_columns(const float* in, float* out) {
  __m512 row[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    row[i] = _mm512_castps128_ps512(_mm_loadu_ps(in + i * kPanel));
    row[i] = _mm512_mask_broadcast_f32x4(row[i], 0x00F0, _mm_loadu_ps(in + (i + 4) * kPanel));
    row[i] = _mm512_mask_broadcast_f32x4(row[i], 0x0F00, _mm_loadu_ps(in + (i + 8) * kPanel));
    row[i] = _mm512_mask_broadcast_f32x4(row[i], 0xF000, _mm_loadu_ps(in + (i + 12) * kPanel));
  }
  const __m512 low01 = _mm512_unpacklo_ps(row[0], row[1]), high01 = _mm512_unpackhi_ps(row[0], row[1]);
  const __m512 low23 = _mm512_unpacklo_ps(row[2], row[3]), high23 = _mm512_unpackhi_ps(row[2], row[3]);
  _mm512_storeu_ps(out, _mm512_shuffle_ps(low01, low23, 0x44));
  _mm512_storeu_ps(out + kPanel, _mm512_shuffle_ps(low01, low23, 0xEE));
  _mm512_storeu_ps(out + 2 * kPanel, _mm512_shuffle_ps(high01, high23, 0x44));
  _mm512_storeu_ps(out + 3 * kPanel, _mm512_shuffle_ps(high01, high23, 0xEE));
}

void transpose_block(const float* in, float* out) {
  for (int64_t k = 0; k < kPanel; k += 4) transpose_4_columns(in + k, out + k * kPanel);
}

void round_bf16(const float* x, int64_t n, uint16_t* y) {
  const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7fff), quiet = _mm512_set1_epi32(0x40);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = first_lanes(n - i < 16 ? n - i : 16).mask;
    const __m512 value = _mm512_maskz_loadu_ps(mask, x + i);
    const __m512i bits = _mm512_castps_si512(value), upper = _mm512_srli_epi32(bits, 16);
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(_mm512_and_si512(upper, one), half));
    rounded = _mm512_srli_epi32(rounded, 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, upper, quiet);
    _mm256_mask_storeu_epi16(y + i, mask, _mm512_cvtepi32_epi16(rounded));
  }
}

void widen_bf16(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += 16) {
    const Part lanes = first_lanes(n - i < 16 ? n - i : 16);
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes.mask, x + i));
    lanes.store(y + i, _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)));
  }
}

double sum_of_squares(const float* x, int64_t n) {
  DoubleSum sum;
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m512 v = lanes.load(x + i);
    sum.add_product(v, v);
  });
  return sum.total();
}

// AVX2's four sums of eight lanes, two to a register.
float dot(const float* x, const float* y, int64_t n) {
  __m512 sums01 = _mm512_setzero_ps(), sums23 = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    sums01 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), sums01);
    sums23 = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(y + i + 16), sums23);
  }
  __m256 first = low_half(sums01);
  for (; i < n; i += 8) {
    const __mmask8 mask = first_lanes(n - i < 8 ? n - i : 8).mask & 0xFF;
    first = _mm256_fmadd_ps(_mm256_maskz_loadu_ps(mask, x + i), _mm256_maskz_loadu_ps(mask, y + i), first);
  }
  return sum8(
      _mm256_add_ps(_mm256_add_ps(first, high_half(sums01)), _mm256_add_ps(low_half(sums23), high_half(sums23))));
}

float rms_norm(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const double mean = sum_of_squares(x, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / __builtin_sqrt(mean + epsilon));
  const __m512 f = _mm512_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) {
    lanes.store(y + i, _mm512_mul_ps(_mm512_mul_ps(lanes.load(x + i), f), lanes.load(weight + i)));
  });
  return factor;
}

void rms_norm_backward(const float* x, const float* weight, float factor, const float* dy, int64_t n, float* dx) {
  DoubleSum sum;
  each_vector(n, [&](int64_t i, auto lanes) {
    sum.add_product(_mm512_mul_ps(lanes.load(dy + i), lanes.load(weight + i)), lanes.load(x + i));
  });
  const double f = factor;
  const __m512 through_factor = _mm512_set1_ps(static_cast<float>(-f * f * f * sum.total() / static_cast<double>(n)));
  const __m512 factor16 = _mm512_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m512 direct = _mm512_mul_ps(lanes.load(dy + i), lanes.load(weight + i));
    const __m512 change = _mm512_fmadd_ps(direct, factor16, _mm512_mul_ps(lanes.load(x + i), through_factor));
    lanes.store(dx + i, _mm512_add_ps(lanes.load(dx + i), change));
  });
}

void rope(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim, float sign) {
  const int64_t half = head_dim / 2;
  const __m512 sign16 = _mm512_set1_ps(sign);
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    each_vector(half, [&](int64_t i, auto lanes) {
      const __m512 c = lanes.load(cosine + i), s = _mm512_mul_ps(sign16, lanes.load(sine + i));
      const __m512 first = lanes.load(x + i), second = lanes.load(x + half + i);
      lanes.store(x + i, _mm512_fmsub_ps(first, c, _mm512_mul_ps(second, s)));
      lanes.store(x + half + i, _mm512_fmadd_ps(second, c, _mm512_mul_ps(first, s)));
    });
  }
}

__m512 one_plus_exp_minus(__m512 x) {
  return _mm512_add_ps(_mm512_set1_ps(1.0f), exp16(_mm512_xor_ps(x, _mm512_set1_ps(-0.0f))));
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m512 g = lanes.load(gate + i);
    lanes.store(out + i, _mm512_mul_ps(_mm512_div_ps(g, one_plus_exp_minus(g)), lanes.load(up + i)));
  });
}

void silu_mul_backward(const float* gate, const float* up, const float* dout, int64_t n, float* dgate, float* dup) {
  const __m512 one = _mm512_set1_ps(1.0f);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m512 g = lanes.load(gate + i), u = lanes.load(up + i), d = lanes.load(dout + i);
    const __m512 s = _mm512_div_ps(one, one_plus_exp_minus(g));
    const __m512 slope = _mm512_mul_ps(s, _mm512_fmadd_ps(g, _mm512_sub_ps(one, s), one));
    lanes.store(dgate + i, _mm512_mul_ps(_mm512_mul_ps(d, u), slope));
    lanes.store(dup + i, _mm512_mul_ps(d, _mm512_mul_ps(g, s)));
  });
}

void add(const float* x, int64_t n, float* y) {
  each_vector(n,
              [&](int64_t i, auto lanes) { lanes.store(y + i, _mm512_add_ps(lanes.load(y + i), lanes.load(x + i))); });
}

void multiply(const float* x, int64_t n, float* y) {
  each_vector(n,
              [&](int64_t i, auto lanes) { lanes.store(y + i, _mm512_mul_ps(lanes.load(y + i), lanes.load(x + i))); });
}

void axpy(float factor, const float* x, int64_t n, float* y) {
  const __m512 f = _mm512_set1_ps(factor);
  each_vector(
      n, [&](int64_t i, auto lanes) { lanes.store(y + i, _mm512_fmadd_ps(f, lanes.load(x + i), lanes.load(y + i))); });
}

void scale(float factor, int64_t n, float* y) {
  const __m512 f = _mm512_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) { lanes.store(y + i, _mm512_mul_ps(f, lanes.load(y + i))); });
}

void magnitude_backward(const MagnitudeBackward& m) {
  for (int64_t t = 0; t < m.rows; ++t) {
    const int64_t row = t * m.stride;
    each_vector(m.n, [&](int64_t j, auto lanes) {
      const __m512 dy = lanes.load(m.dy + row + j);
      __m512 y = lanes.load(m.y + row + j);
      if (m.beside != nullptr) y = _mm512_sub_ps(y, lanes.load(m.beside + row + j));
      if (m.bias != nullptr) y = _mm512_sub_ps(y, lanes.load(m.bias + j));
      const __m512 change = _mm512_mul_ps(_mm512_mul_ps(dy, y), lanes.load(m.inverse + j));
      lanes.store(m.sums + j, _mm512_add_ps(lanes.load(m.sums + j), change));
      lanes.store(m.scaled + row + j, _mm512_mul_ps(dy, lanes.load(m.gain + j)));
    });
  }
}

float softmax_block(float* scores, int64_t valid, float scale, float* maximum, float* sum) {
  const Part lanes = first_lanes(valid);
  const __m512 z = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_loadu_ps(scores));
  const float new_maximum = max16(lanes.keep_or(z, _mm512_set1_ps(*maximum)));
  const float highest = new_maximum > *maximum ? new_maximum : *maximum;
  const float factor = highest == *maximum ? 1.0f : exp1(*maximum - highest);
  const __m512 p = lanes.keep(exp16(_mm512_sub_ps(z, _mm512_set1_ps(highest))));
  _mm512_storeu_ps(scores, p);
  *maximum = highest;
  *sum = *sum * factor + sum8(_mm256_add_ps(low_half(p), high_half(p)));
  return factor;
}

void softmax_block_backward(float* scores, float* dp, int64_t valid, float scale, float log_sum, float delta) {
  const Part lanes = first_lanes(valid);
  const __m512 scale16 = _mm512_set1_ps(scale);
  const __m512 z = _mm512_mul_ps(scale16, _mm512_loadu_ps(scores));
  const __m512 p = lanes.keep(exp16(_mm512_sub_ps(z, _mm512_set1_ps(log_sum))));
  const __m512 ds = _mm512_mul_ps(_mm512_mul_ps(scale16, p), _mm512_sub_ps(_mm512_loadu_ps(dp), _mm512_set1_ps(delta)));
  _mm512_storeu_ps(scores, p);
  _mm512_storeu_ps(dp, lanes.keep(ds));
}

// The first of z[0, n) that equals `value`.
int64_t first_equal(const float* logits, int64_t n, float inverse_temperature, float value) {
  for (int64_t j = 0; j < n; ++j)
    if (logits[j] * inverse_temperature == value) return j;
  return 0;
}

void head_block(const float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                HeadState* state) {
  const __m512 factor16 = _mm512_set1_ps(inverse_temperature);
  const __m512 old = _mm512_set1_ps(state->maximum);
  __m512 highest = old;
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m512 z = _mm512_mul_ps(lanes.load(logits + j), factor16);
    highest = _mm512_max_ps(lanes.keep_or(z, old), highest);  // a NaN gives way here; the sums below keep it
  });
  const float block_maximum = max16(highest);
  if (block_maximum > state->maximum) {
    if (state->sum != 0) {
      const double shift = static_cast<double>(state->maximum) - block_maximum;
      const double factor = exact_exp(shift);
      state->weighted_sum = factor * (state->weighted_sum + shift * state->sum);
      state->sum *= factor;
    }
    state->maximum = block_maximum;
    state->argmax = static_cast<int32_t>(first_id + first_equal(logits, n, inverse_temperature, block_maximum));
  }
  if (target >= first_id && target < first_id + n) state->target = logits[target - first_id] * inverse_temperature;
  const __m512 maximum = _mm512_set1_ps(state->maximum);
  DoubleSum sum, weighted_sum;
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m512 distance = _mm512_sub_ps(_mm512_mul_ps(lanes.load(logits + j), factor16), maximum);
    const __m512 weight = lanes.keep(exp16(distance));
    sum.add(weight);
    weighted_sum.add_product(lanes.keep(distance), weight);
  });
  state->sum += sum.total();
  state->weighted_sum += weighted_sum.total();
}

void head_block_backward(float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                         const HeadGradient& gradient) {
  const float high = static_cast<float>(gradient.log_sum);
  const __m512 log_sum_high = _mm512_set1_ps(high);
  const __m512 log_sum_low = _mm512_set1_ps(static_cast<float>(gradient.log_sum - high));
  const __m512 factor16 = _mm512_set1_ps(inverse_temperature), entropy = _mm512_set1_ps(gradient.entropy);
  const __m512 logprob_coefficient = _mm512_set1_ps(gradient.logprob_coefficient);
  const __m512 entropy_coefficient = _mm512_set1_ps(gradient.entropy_coefficient);
  const __m512i target16 = _mm512_set1_epi32(static_cast<int>(target - first_id));
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m512i column = _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(j)));
    const __m512 hit = _mm512_maskz_mov_ps(_mm512_cmpeq_epi32_mask(column, target16), _mm512_set1_ps(1.0f));
    const __m512 z = _mm512_mul_ps(lanes.load(logits + j), factor16);
    const __m512 log_p = _mm512_sub_ps(_mm512_sub_ps(z, log_sum_high), log_sum_low);
    const __m512 p = exp16(log_p);
    const __m512 of_entropy = _mm512_mul_ps(entropy_coefficient, _mm512_mul_ps(p, _mm512_add_ps(log_p, entropy)));
    const __m512 dz = _mm512_fmsub_ps(logprob_coefficient, _mm512_sub_ps(hit, p), of_entropy);
    lanes.store(logits + j, _mm512_mul_ps(dz, factor16));
  });
}

void exp_row(const float* x, int64_t n, float factor, float shift, float* out) {
  const __m512 factor16 = _mm512_set1_ps(factor), shift16 = _mm512_set1_ps(shift);
  each_vector(n, [&](int64_t i, auto lanes) {
    lanes.store(out + i, exp16(_mm512_sub_ps(_mm512_mul_ps(lanes.load(x + i), factor16), shift16)));
  });
}

void adamw(const AdamwStep& step, const float* gradient, int64_t n, float* parameter, float* m, float* v) {
  auto all = [](double x) { return _mm512_set1_ps(static_cast<float>(x)); };
  const __m512 decay = all(1.0 - step.learning_rate * step.weight_decay);
  const __m512 step_size = all(step.learning_rate / step.bias_correction1);
  const __m512 root_correction = all(__builtin_sqrt(step.bias_correction2));
  const __m512 rest1 = all(1.0 - step.beta1), rest2 = all(1.0 - step.beta2), beta2 = all(step.beta2);
  const __m512 epsilon = all(step.epsilon), gradient_scale = all(step.gradient_scale);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m512 g = _mm512_mul_ps(lanes.load(gradient + i), gradient_scale);
    const __m512 old_m = lanes.load(m + i);
    const __m512 new_m = _mm512_fmadd_ps(rest1, _mm512_sub_ps(g, old_m), old_m);
    const __m512 new_v = _mm512_fmadd_ps(_mm512_mul_ps(rest2, g), g, _mm512_mul_ps(lanes.load(v + i), beta2));
    const __m512 denominator = _mm512_add_ps(_mm512_div_ps(_mm512_sqrt_ps(new_v), root_correction), epsilon);
    const __m512 decayed = _mm512_mul_ps(lanes.load(parameter + i), decay);
    lanes.store(m + i, new_m);
    lanes.store(v + i, new_v);
    lanes.store(parameter + i, _mm512_fnmadd_ps(step_size, _mm512_div_ps(new_m, denominator), decayed));
  });
}

// Twelve chains of one multiply-add each: enough to fill one unit of latency 4, or two of them.
int64_t multiply_add(int64_t rounds, float* value) {
  constexpr int kChains = 12;
  const __m512 a = _mm512_set1_ps(0.999f);
  __m512 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(*value + static_cast<float>(c));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_fmadd_ps(sums[c], a, a);
  }
  for (int c = 0; c < kChains; ++c) *value += sum8(_mm256_add_ps(low_half(sums[c]), high_half(sums[c])));
  return rounds * kChains * 16 * 2;
}

constexpr Kernels kAvx512 = {
    .name = "avx512",
    .matmul = avx512::matmul,
    .transpose_block = transpose_block,
    .bf16_matmul = avx2::bf16_matmul,
    .bf16_transpose_block = avx2::bf16_transpose_block,
    .round_bf16 = round_bf16,
    .widen_bf16 = widen_bf16,
    .rms_norm = rms_norm,
    .rms_norm_backward = rms_norm_backward,
    .rope = rope,
    .silu_mul = silu_mul,
    .silu_mul_backward = silu_mul_backward,
    .add = add,
    .multiply = multiply,
    .axpy = axpy,
    .scale = scale,
    .sum_of_squares = sum_of_squares,
    .dot = dot,
    .magnitude_backward = magnitude_backward,
    .softmax_block = softmax_block,
    .softmax_block_backward = softmax_block_backward,
    .head_block = head_block,
    .head_block_backward = head_block_backward,
    .exp_row = exp_row,
    .adamw = adamw,
    .multiply_add = multiply_add,
    .bf16_multiply_add = multiply_add,
};

constexpr Kernels kAvx512Bf16 = [] {
  Kernels kernels = kAvx512;
  kernels.name = "avx512_bf16";
  kernels.bf16_matmul = avx512::bf16_matmul;
  kernels.bf16_multiply_add = avx512::bf16_multiply_add;
  return kernels;
}();

// Quantized weights have the same bits with VNNI and without, so that is no level of its own.
Kernels with_int8(Kernels kernels) {
  processor_has_avx512_vnni() ? avx512::add_int8(kernels) : avx2::add_int8(kernels);
  return kernels;
}

}  // namespace

const Kernels* avx512_kernels() {
  static const bool present = processor_has_avx512();
  static const Kernels kernels = with_int8(kAvx512);
  return present ? &kernels : nullptr;
}

const Kernels* avx512_bf16_kernels() {
  static const bool present = processor_has_avx512_bf16();
  static const Kernels kernels = with_int8(kAvx512Bf16);
  return present ? &kernels : nullptr;
}

}  // namespace candor::engine

#else

namespace candor::engine {

const Kernels* avx512_kernels() {
  return nullptr;
}

const Kernels* avx512_bf16_kernels() {
  return nullptr;
}

}  // namespace candor::engine

#endif
