// The reference: every kernel as its formula reads, in portable C++ without multiply-add. Slow and plain on purpose;
// every other level is tested against this one.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/math.h"
#include "engine/kernels/int8_levels.h"
#include "engine/kernels/kernels.h"

namespace candor::engine {

namespace {

float exponential(float x) {
  return static_cast<float>(exact_exp(x));
}

float sigmoid(float x) {
  return 1.0f / (1.0f + exponential(-x));
}

void matmul(const Matmul& m) {
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t p = 0; p < m.panels; ++p) {
      float* c = m.c + i * m.c_row + p * kPanel;
      float sums[kPanel] = {};
      if (m.accumulate) std::copy_n(c, kPanel, sums);
      for (int64_t k = 0; k < m.depth; ++k) {
        const float a = m.a[i * m.a_row + k * m.a_k];
        const float* b = m.b + p * m.b_panel + k * m.b_k;
        for (int64_t j = 0; j < kPanel; ++j) sums[j] += a * b[j];
      }
      std::copy_n(sums, kPanel, c);
    }
  }
}

void transpose_block(const float* in, float* out) {
  for (int64_t j = 0; j < kPanel; ++j)
    for (int64_t k = 0; k < kPanel; ++k) out[k * kPanel + j] = in[j * kPanel + k];
}

void bf16_matmul(const Bf16Matmul& m) {
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t p = 0; p < m.panels; ++p) {
      float* c = m.c + i * m.c_row + p * kPanel;
      float sums[kPanel] = {};
      if (m.accumulate) std::copy_n(c, kPanel, sums);
      for (int64_t step = 0; step < m.depth; ++step) {
        const int64_t k = step ^ 1;  // of each pair the odd one first
        const float a = bfloat16_to_float(m.a[i * m.a_row + k]);
        const uint16_t* b = m.b + p * m.b_panel + k / 2 * (2 * kPanel) + k % 2;
        for (int64_t j = 0; j < kPanel; ++j) sums[j] += a * bfloat16_to_float(b[2 * j]);
      }
      std::copy_n(sums, kPanel, c);
    }
  }
}

void bf16_transpose_block(const uint16_t* in, uint16_t* out) {
  for (int64_t k = 0; k < kPanel; ++k)
    for (int64_t j = 0; j < kPanel; ++j)
      out[j / 2 * (2 * kPanel) + 2 * k + j % 2] = in[k / 2 * (2 * kPanel) + 2 * j + k % 2];
}

void round_bf16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = float_to_bfloat16(x[i]);
}

void widen_bf16(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = bfloat16_to_float(x[i]);
}

double sum_of_squares(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

float dot(const float* x, const float* y, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * y[i];
  return static_cast<float>(sum);
}

float rms_norm(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const double mean = sum_of_squares(x, n) / static_cast<double>(n);
  const float factor = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * factor * weight[i];
  return factor;
}

// y_i = x_i·w_i·f with f = (mean(x²) + eps)^(-1/2), so df/dx_i = -f³·x_i/n.
void rms_norm_backward(const float* x, const float* weight, float factor, const float* dy, int64_t n, float* dx) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(dy[i] * weight[i]) * x[i];
  const double f = factor;
  const float through_factor = static_cast<float>(-f * f * f * sum / static_cast<double>(n));
  for (int64_t i = 0; i < n; ++i) dx[i] += dy[i] * weight[i] * factor + x[i] * through_factor;
}

void rope(float* x, const float* cosine, const float* sine, int64_t heads, int64_t head_dim, float sign) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (int64_t i = 0; i < half; ++i) {
      const float first = x[i], second = x[half + i], s = sign * sine[i];
      x[i] = first * cosine[i] - second * s;
      x[half + i] = second * cosine[i] + first * s;
    }
  }
}

void silu_mul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + exponential(-gate[i])) * up[i];
}

// silu(g) = g·s with s = sigmoid(g); silu'(g) = s·(1 + g·(1 - s)).
void silu_mul_backward(const float* gate, const float* up, const float* dout, int64_t n, float* dgate, float* dup) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i], u = up[i], d = dout[i], s = sigmoid(g);
    dgate[i] = d * u * (s * (1.0f + g * (1.0f - s)));
    dup[i] = d * (g * s);
  }
}

void add(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void multiply(const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] *= x[i];
}

void axpy(float factor, const float* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

void scale(float factor, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] *= factor;
}

void magnitude_backward(const MagnitudeBackward& m) {
  for (int64_t t = 0; t < m.rows; ++t)
    for (int64_t j = 0; j < m.n; ++j) {
      const int64_t at = t * m.stride + j;
      const float dy = m.dy[at], y = m.beside == nullptr ? m.y[at] : m.y[at] - m.beside[at];
      m.sums[j] += dy * (m.bias == nullptr ? y : y - m.bias[j]) * m.inverse[j];
      m.scaled[at] = dy * m.gain[j];
    }
}

float softmax_block(float* scores, int64_t valid, float scale, float* maximum, float* sum) {
  float new_maximum = *maximum;
  for (int64_t j = 0; j < valid; ++j) new_maximum = std::max(new_maximum, scale * scores[j]);
  const float factor = new_maximum == *maximum ? 1.0f : exponential(*maximum - new_maximum);
  float block_sum = 0;
  for (int64_t j = 0; j < kPanel; ++j) {
    scores[j] = j < valid ? exponential(scale * scores[j] - new_maximum) : 0.0f;
    block_sum += scores[j];
  }
  *maximum = new_maximum;
  *sum = *sum * factor + block_sum;
  return factor;
}

void softmax_block_backward(float* scores, float* dp, int64_t valid, float scale, float log_sum, float delta) {
  for (int64_t j = 0; j < kPanel; ++j) {
    scores[j] = j < valid ? exponential(scale * scores[j] - log_sum) : 0.0f;
    dp[j] = j < valid ? scale * scores[j] * (dp[j] - delta) : 0.0f;
  }
}

void head_block(const float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                HeadState* state) {
  const float old_maximum = state->maximum;
  for (int64_t j = 0; j < n; ++j) {
    const float z = logits[j] * inverse_temperature;
    if (z > state->maximum) {
      state->maximum = z;
      state->argmax = static_cast<int32_t>(first_id + j);
    }
    if (first_id + j == target) state->target = z;
  }
  if (state->maximum != old_maximum && state->sum != 0) {
    // exp(z - old) = exp(z - new)·exp(new - old): both sums move to the new maximum.
    const double shift = static_cast<double>(old_maximum) - state->maximum;
    const double factor = exact_exp(shift);
    state->weighted_sum = factor * (state->weighted_sum + shift * state->sum);
    state->sum *= factor;
  }
  for (int64_t j = 0; j < n; ++j) {
    const float distance = logits[j] * inverse_temperature - state->maximum;
    const double weight = exponential(distance);
    state->sum += weight;
    state->weighted_sum += distance * weight;
  }
}

void head_block_backward(float* logits, int64_t n, int64_t first_id, float inverse_temperature, int64_t target,
                         const HeadGradient& gradient) {
  for (int64_t j = 0; j < n; ++j) {
    const float log_p = static_cast<float>(static_cast<double>(logits[j] * inverse_temperature) - gradient.log_sum);
    const float p = exponential(log_p);
    const float hit = first_id + j == target ? 1.0f : 0.0f;
    const float dz =
        gradient.logprob_coefficient * (hit - p) - gradient.entropy_coefficient * (p * (log_p + gradient.entropy));
    logits[j] = dz * inverse_temperature;
  }
}

void exp_row(const float* x, int64_t n, float factor, float shift, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = exponential(x[i] * factor - shift);
}

void adamw(const AdamwStep& step, const float* gradient, int64_t n, float* parameter, float* m, float* v) {
  const float decay = static_cast<float>(1.0 - step.learning_rate * step.weight_decay);
  const float step_size = static_cast<float>(step.learning_rate / step.bias_correction1);
  const float root_correction = static_cast<float>(std::sqrt(step.bias_correction2));
  const float rest1 = static_cast<float>(1.0 - step.beta1), rest2 = static_cast<float>(1.0 - step.beta2);
  const float beta2 = static_cast<float>(step.beta2), epsilon = static_cast<float>(step.epsilon);
  const float gradient_scale = static_cast<float>(step.gradient_scale);
  for (int64_t i = 0; i < n; ++i) {
    const float g = gradient[i] * gradient_scale;
    m[i] += rest1 * (g - m[i]);
    v[i] = v[i] * beta2 + rest2 * g * g;
    const float denominator = std::sqrt(v[i]) / root_correction + epsilon;
    parameter[i] = parameter[i] * decay - step_size * (m[i] / denominator);
  }
}

// Eight independent chains, so that the loop is bound by throughput and not by one chain's latency.
int64_t multiply_add(int64_t rounds, float* value) {
  constexpr int kLanes = 32;
  float sums[kLanes];
  std::fill_n(sums, kLanes, *value);
  const float a = 0.999f;
  for (int64_t r = 0; r < rounds; ++r)
    for (float& sum : sums) sum = sum * a + a;
  for (float sum : sums) *value += sum;
  return rounds * kLanes * 2;
}

constexpr Kernels kPlain = {
    .name = "plain",
    .matmul = matmul,
    .transpose_block = transpose_block,
    .bf16_matmul = bf16_matmul,
    .bf16_transpose_block = bf16_transpose_block,
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
    .int8_multiply_add = multiply_add,
    .int4_multiply_add = multiply_add,
};

}  // namespace

const Kernels& plain_kernels() {
  static const Kernels kernels = [] {
    Kernels with_int8 = kPlain;
    plain::add_int8(with_int8);
    return with_int8;
  }();
  return kernels;
}

}  // namespace candor::engine
