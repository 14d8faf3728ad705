// The kernels for AVX2 and FMA, all but the matrix products (avx2_matmul.cpp, avx2_bf16.cpp). Formulas are those of
// plain.cpp.
#include "engine/kernels/kernels.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "base/math.h"
#include "engine/kernels/avx2_math.h"
#include "engine/kernels/avx2_matmul.h"
#include "engine/kernels/int8_levels.h"

namespace candor::engine {

namespace {

using namespace avx2;

// An 8×8 block: rows of `in` become columns of `out`, both with rows 16 floats apart.
void transpose_8x8(const float* in, float* out) {
  __m256 row[8], pair[8];
  for (int i = 0; i < 4; ++i) {
    // Rows i and i + 4 share a register from the start, so that two rounds of shuffles are left.
    row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in + i * kPanel)),
                                  _mm_loadu_ps(in + (i + 4) * kPanel), 1);
    row[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(in + i * kPanel + 4)),
                                      _mm_loadu_ps(in + (i + 4) * kPanel + 4), 1);
  }
  for (int i = 0; i < 8; i += 4) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    pair[i + 2] = _mm256_unpacklo_ps(row[i + 2], row[i + 3]);
    pair[i + 3] = _mm256_unpackhi_ps(row[i + 2], row[i + 3]);
    float* to = out + i * kPanel;
    _mm256_storeu_ps(to, _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44));
    _mm256_storeu_ps(to + kPanel, _mm256_shuffle_ps(pair[i], pair[i + 2], 0xEE));
    _mm256_storeu_ps(to + 2 * kPanel, _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44));
    _mm256_storeu_ps(to + 3 * kPanel, _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xEE));
  }
}

void transpose_block(const float* in, float* out) {
  for (int64_t j = 0; j < kPanel; j += 8)
    for (int64_t k = 0; k < kPanel; k += 8) transpose_8x8(in + j * kPanel + k, out + k * kPanel + j);
}

double sum_of_squares(const float* x, int64_t n) {
  DoubleSum sum;
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m256 v = lanes.load(x + i);
    sum.add_product(v, v);
  });
  return sum.total();
}

float dot(const float* x, const float* y, int64_t n) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int64_t s = 0; s < 4; ++s)
      sums[s] = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8 * s), _mm256_loadu_ps(y + i + 8 * s), sums[s]);
  each_vector(n - i, [&](int64_t j, auto lanes) {
    sums[0] = _mm256_fmadd_ps(lanes.load(x + i + j), lanes.load(y + i + j), sums[0]);
  });
  return sum8(_mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
}

float rms_norm(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const double mean = sum_of_squares(x, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / __builtin_sqrt(mean + epsilon));
  const __m256 f = _mm256_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) {
    lanes.store(y + i, _mm256_mul_ps(_mm256_mul_ps(lanes.load(x + i), f), lanes.load(weight + i)));
  });
  return factor;
}

void rms_norm_backward(const float* x, const float* weight, float factor, const float* dy, int64_t n, float* dx) {
  DoubleSum sum;
  each_vector(n, [&](int64_t i, auto lanes) {
    sum.add_product(_mm256_mul_ps(lanes.load(dy + i), lanes.load(weight + i)), lanes.load(x + i));
  });
  const double f = factor;
  const __m256 through_factor = _mm256_set1_ps(static_cast<float>(-f * f * f * sum.total() / static_cast<double>(n)));
  const __m256 factor8 = _mm256_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m256 direct = _mm256_mul_ps(lanes.load(dy + i), lanes.load(weight + i));
    const __m256 change = _mm256_fmadd_ps(direct, factor8, _mm256_mul_ps(lanes.load(x + i), through_factor));
    lanes.store(dx + i, _mm256_add_ps(lanes.load(dx + i), change));
  });
}

void rope(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim, float sign) {
  const int64_t half = head_dim / 2;
  const __m256 sign8 = _mm256_set1_ps(sign);
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    each_vector(half, [&](int64_t i, auto lanes) {
      const __m256 c = lanes.load(cosine + i), s = _mm256_mul_ps(sign8, lanes.load(sine + i));
      const __m256 first = lanes.load(x + i), second = lanes.load(x + half + i);
      lanes.store(x + i, _mm256_fmsub_ps(first, c, _mm256_mul_ps(second, s)));
      lanes.store(x + half + i, _mm256_fmadd_ps(second, c, _mm256_mul_ps(first, s)));
    });
  }
}

__m256 one_plus_exp_minus(__m256 x) {
  return _mm256_add_ps(_mm256_set1_ps(1.0f), exp8(_mm256_xor_ps(x, _mm256_set1_ps(-0.0f))));
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m256 g = lanes.load(gate + i);
    lanes.store(out + i, _mm256_mul_ps(_mm256_div_ps(g, one_plus_exp_minus(g)), lanes.load(up + i)));
  });
}

void silu_mul_backward(const float* gate, const float* up, const float* dout, int64_t n, float* dgate, float* dup) {
  const __m256 one = _mm256_set1_ps(1.0f);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m256 g = lanes.load(gate + i), u = lanes.load(up + i), d = lanes.load(dout + i);
    const __m256 s = _mm256_div_ps(one, one_plus_exp_minus(g));
    const __m256 slope = _mm256_mul_ps(s, _mm256_fmadd_ps(g, _mm256_sub_ps(one, s), one));
    lanes.store(dgate + i, _mm256_mul_ps(_mm256_mul_ps(d, u), slope));
    lanes.store(dup + i, _mm256_mul_ps(d, _mm256_mul_ps(g, s)));
  });
}

void add(const float* x, int64_t n, float* y) {
  each_vector(n,
              [&](int64_t i, auto lanes) { lanes.store(y + i, _mm256_add_ps(lanes.load(y + i), lanes.load(x + i))); });
}

void multiply(const float* x, int64_t n, float* y) {
  each_vector(n,
              [&](int64_t i, auto lanes) { lanes.store(y + i, _mm256_mul_ps(lanes.load(y + i), lanes.load(x + i))); });
}

void axpy(float factor, const float* x, int64_t n, float* y) {
  const __m256 f = _mm256_set1_ps(factor);
  each_vector(
      n, [&](int64_t i, auto lanes) { lanes.store(y + i, _mm256_fmadd_ps(f, lanes.load(x + i), lanes.load(y + i))); });
}

void scale(float factor, int64_t n, float* y) {
  const __m256 f = _mm256_set1_ps(factor);
  each_vector(n, [&](int64_t i, auto lanes) { lanes.store(y + i, _mm256_mul_ps(f, lanes.load(y + i))); });
}

void magnitude_backward(const MagnitudeBackward& m) {
  for (int64_t t = 0; t < m.rows; ++t) {
    const int64_t row = t * m.stride;
    each_vector(m.n, [&](int64_t j, auto lanes) {
      const __m256 dy = lanes.load(m.dy + row + j);
      __m256 y = lanes.load(m.y + row + j);
      if (m.beside != nullptr) y = _mm256_sub_ps(y, lanes.load(m.beside + row + j));
      if (m.bias != nullptr) y = _mm256_sub_ps(y, lanes.load(m.bias + j));
      const __m256 change = _mm256_mul_ps(_mm256_mul_ps(dy, y), lanes.load(m.inverse + j));
      lanes.store(m.sums + j, _mm256_add_ps(lanes.load(m.sums + j), change));
      lanes.store(m.scaled + row + j, _mm256_mul_ps(dy, lanes.load(m.gain + j)));
    });
  }
}

float softmax_block(float* scores, int64_t valid, float scale, float* maximum, float* sum) {
  const __m256 scale8 = _mm256_set1_ps(scale);
  const Part first = first_lanes(valid), second = first_lanes(valid - 8);
  const __m256 z0 = _mm256_mul_ps(scale8, _mm256_loadu_ps(scores));
  const __m256 z1 = _mm256_mul_ps(scale8, _mm256_loadu_ps(scores + 8));
  const __m256 old = _mm256_set1_ps(*maximum);
  const float new_maximum = max8(_mm256_max_ps(first.keep_or(z0, old), second.keep_or(z1, old)));
  const float highest = new_maximum > *maximum ? new_maximum : *maximum;
  const float factor = highest == *maximum ? 1.0f : exp1(*maximum - highest);
  const __m256 shift = _mm256_set1_ps(highest);
  const __m256 p0 = first.keep(exp8(_mm256_sub_ps(z0, shift))), p1 = second.keep(exp8(_mm256_sub_ps(z1, shift)));
  _mm256_storeu_ps(scores, p0);
  _mm256_storeu_ps(scores + 8, p1);
  *maximum = highest;
  *sum = *sum * factor + sum8(_mm256_add_ps(p0, p1));
  return factor;
}

void softmax_block_backward(float* scores, float* dp, int64_t valid, float scale, float log_sum, float delta) {
  const __m256 scale8 = _mm256_set1_ps(scale), log_sum8 = _mm256_set1_ps(log_sum), delta8 = _mm256_set1_ps(delta);
  for (int64_t j = 0; j < kPanel; j += 8) {
    const Part lanes = first_lanes(valid - j);
    const __m256 z = _mm256_mul_ps(scale8, _mm256_loadu_ps(scores + j));
    const __m256 p = lanes.keep(exp8(_mm256_sub_ps(z, log_sum8)));
    const __m256 ds = _mm256_mul_ps(_mm256_mul_ps(scale8, p), _mm256_sub_ps(_mm256_loadu_ps(dp + j), delta8));
    _mm256_storeu_ps(scores + j, p);
    _mm256_storeu_ps(dp + j, lanes.keep(ds));
  }
}

// The first of z[0, n) that equals `value`.
int64_t first_equal(const float* logits, int64_t n, float inverse_temperature, float value) {
  for (int64_t j = 0; j < n; ++j)
    if (logits[j] * inverse_temperature == value) return j;
  return 0;
}

void head_block(const float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                HeadState* state) {
  const __m256 factor8 = _mm256_set1_ps(inverse_temperature);
  const __m256 old = _mm256_set1_ps(state->maximum);
  __m256 highest = old;
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m256 z = _mm256_mul_ps(lanes.load(logits + j), factor8);
    highest = _mm256_max_ps(lanes.keep_or(z, old), highest);  // a NaN gives way here; the sums below keep it
  });
  const float block_maximum = max8(highest);
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
  const __m256 maximum = _mm256_set1_ps(state->maximum);
  DoubleSum sum, weighted_sum;
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m256 distance = _mm256_sub_ps(_mm256_mul_ps(lanes.load(logits + j), factor8), maximum);
    const __m256 weight = lanes.keep(exp8(distance));
    sum.add(weight);
    weighted_sum.add_product(lanes.keep(distance), weight);
  });
  state->sum += sum.total();
  state->weighted_sum += weighted_sum.total();
}

void head_block_backward(float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                         const HeadGradient& gradient) {
  const float high = static_cast<float>(gradient.log_sum);
  const __m256 log_sum_high = _mm256_set1_ps(high);
  const __m256 log_sum_low = _mm256_set1_ps(static_cast<float>(gradient.log_sum - high));
  const __m256 factor8 = _mm256_set1_ps(inverse_temperature), entropy = _mm256_set1_ps(gradient.entropy);
  const __m256 logprob_coefficient = _mm256_set1_ps(gradient.logprob_coefficient);
  const __m256 entropy_coefficient = _mm256_set1_ps(gradient.entropy_coefficient);
  const __m256i target8 = _mm256_set1_epi32(static_cast<int>(target - first_id));
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  each_vector(n, [&](int64_t j, auto lanes) {
    const __m256i column = _mm256_add_epi32(lane, _mm256_set1_epi32(static_cast<int>(j)));
    const __m256 is_target = _mm256_castsi256_ps(_mm256_cmpeq_epi32(column, target8));
    const __m256 hit = _mm256_and_ps(is_target, _mm256_set1_ps(1.0f));
    const __m256 z = _mm256_mul_ps(lanes.load(logits + j), factor8);
    const __m256 log_p = _mm256_sub_ps(_mm256_sub_ps(z, log_sum_high), log_sum_low);
    const __m256 p = exp8(log_p);
    const __m256 of_entropy = _mm256_mul_ps(entropy_coefficient, _mm256_mul_ps(p, _mm256_add_ps(log_p, entropy)));
    const __m256 dz = _mm256_fmsub_ps(logprob_coefficient, _mm256_sub_ps(hit, p), of_entropy);
    lanes.store(logits + j, _mm256_mul_ps(dz, factor8));
  });
}

void exp_row(const float* x, int64_t n, float factor, float shift, float* out) {
  const __m256 factor8 = _mm256_set1_ps(factor), shift8 = _mm256_set1_ps(shift);
  each_vector(n, [&](int64_t i, auto lanes) {
    lanes.store(out + i, exp8(_mm256_sub_ps(_mm256_mul_ps(lanes.load(x + i), factor8), shift8)));
  });
}

void adamw(const AdamwStep& step, const float* gradient, int64_t n, float* parameter, float* m, float* v) {
  auto all = [](double x) { return _mm256_set1_ps(static_cast<float>(x)); };
  const __m256 decay = all(1.0 - step.learning_rate * step.weight_decay);
  const __m256 step_size = all(step.learning_rate / step.bias_correction1);
  const __m256 root_correction = all(__builtin_sqrt(step.bias_correction2));
  const __m256 rest1 = all(1.0 - step.beta1), rest2 = all(1.0 - step.beta2), beta2 = all(step.beta2);
  const __m256 epsilon = all(step.epsilon), gradient_scale = all(step.gradient_scale);
  each_vector(n, [&](int64_t i, auto lanes) {
    const __m256 g = _mm256_mul_ps(lanes.load(gradient + i), gradient_scale);
    const __m256 old_m = lanes.load(m + i);
    const __m256 new_m = _mm256_fmadd_ps(rest1, _mm256_sub_ps(g, old_m), old_m);
    const __m256 new_v = _mm256_fmadd_ps(_mm256_mul_ps(rest2, g), g, _mm256_mul_ps(lanes.load(v + i), beta2));
    const __m256 denominator = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(new_v), root_correction), epsilon);
    const __m256 decayed = _mm256_mul_ps(lanes.load(parameter + i), decay);
    lanes.store(m + i, new_m);
    lanes.store(v + i, new_v);
    lanes.store(parameter + i, _mm256_fnmadd_ps(step_size, _mm256_div_ps(new_m, denominator), decayed));
  });
}

// Twelve chains of one multiply-add each, as in the matrix product's tile: enough to fill two units of latency 4 or 5.
int64_t multiply_add(int64_t rounds, float* value) {
  constexpr int kChains = 12;
  const __m256 a = _mm256_set1_ps(0.999f);
  __m256 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm256_set1_ps(*value + static_cast<float>(c));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm256_fmadd_ps(sums[c], a, a);
  }
  for (int c = 0; c < kChains; ++c) *value += sum8(sums[c]);
  return rounds * kChains * 8 * 2;
}

constexpr Kernels kAvx2 = {
    .name = "avx2",
    .matmul = avx2::matmul,
    .transpose_block = transpose_block,
    .bf16_matmul = avx2::bf16_matmul,
    .bf16_transpose_block = avx2::bf16_transpose_block,
    .round_bf16 = avx2::round_bf16,
    .widen_bf16 = avx2::widen_bf16,
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

}  // namespace

const Kernels* avx2_kernels() {
  static const bool present = processor_has_avx2();
  static const Kernels kernels = [] {
    Kernels with_int8 = kAvx2;
    avx2::add_int8(with_int8);
    return with_int8;
  }();
  return present ? &kernels : nullptr;
}

}  // namespace candor::engine

#else

namespace candor::engine {

const Kernels* avx2_kernels() {
  return nullptr;
}

}  // namespace candor::engine

#endif
