#include "cli/bench_works.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <type_traits>

#include "base/half.h"
#include "base/rng.h"
#include "engine/kernels/parallel.h"
#include "engine/optimizer.h"
#include "engine/policy_pass.h"
#include "engine/sampler.h"

namespace candor::cli {

namespace {

using engine::Adapter;

double time_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The median of `runs` after one that is not counted.
double median_time(int runs, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(time_of(work));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::vector<int32_t> random_prompt(const engine::Model& model, int64_t tokens, uint32_t row) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i)
    ids.push_back(static_cast<int32_t>(random_below({0, RngStream::kData, 0, row}, static_cast<uint64_t>(i),
                                                    static_cast<uint64_t>(model.config.vocab_size))));
  return ids;
}

// One product of the engine's, of float32 (Number float) or bfloat16 (uint16_t).
template <typename Number>
Work gemm(const engine::Context& context) {
  constexpr bool kFloat32 = std::is_same_v<Number, float>;
  constexpr int64_t kRows = 512, kSide = 2048;
  engine::NumberBuffer<Number> a(context.ledger, "bench", "a", kRows * kSide),
      b(context.ledger, "bench", "b", kSide * kSide);
  engine::Buffer c(context.ledger, "bench", "c", kRows * kSide);
  for (auto* buffer : {&a, &b})
    for (int64_t i = 0; i < buffer->size(); ++i) {
      const float x = static_cast<float>(i % 7) - 3.0f;
      if constexpr (kFloat32)
        (*buffer)[i] = x;
      else
        (*buffer)[i] = float_to_bfloat16(x);
    }
  std::conditional_t<kFloat32, engine::Matmul, engine::Bf16Matmul> product;
  product.a = a.data(), product.a_row = kSide;
  product.b = b.data(), product.b_panel = kSide * engine::kPanel;
  product.c = c.data(), product.c_row = kSide;
  product.rows = kRows, product.panels = kSide / engine::kPanel, product.depth = kSide;
  engine::Matmuls products;
  products.add(product);
  const double seconds = median_time(9, [&] { engine::run_matmuls(context.pool, context.kernels, products); });
  return {seconds, 2e-9 * kRows * kSide * kSide};
}

files::LoraConfig all_linear(int64_t rank) {
  files::LoraConfig lora;
  lora.r = rank;
  lora.alpha = 2 * static_cast<double>(rank);
  lora.target_modules = {"all-linear"};
  return lora;
}

}  // namespace

Shapes::Shapes(const engine::Model& model) {
  bytes = static_cast<double>(model.head_matrix().bytes());
  for (const auto& layer : model.layers)
    for (const auto& w : layer.linears) {
      body += 2.0 * static_cast<double>(w.out) * static_cast<double>(w.in);
      bytes += static_cast<double>(w.bytes());
    }
  head = 2.0 * static_cast<double>(model.config.vocab_size) * static_cast<double>(model.config.hidden_size);
}

Work float32_gemm(const engine::Context& context) {
  return gemm<float>(context);
}

Work bf16_gemm(const engine::Context& context) {
  return gemm<uint16_t>(context);
}

Work int8_gemm(const engine::Context& context) {
  constexpr int64_t kRows = 512, kSide = 2048, kRowBytes = engine::quantized_row_bytes(kSide);
  const engine::QuantizedFormat format;  // of Q8_0
  const int64_t panel_bytes = format.panel_bytes(kSide), panels = kSide / engine::kPanel;
  engine::ByteBuffer a(context.ledger, "bench", "a", kRows * kRowBytes),
      b(context.ledger, "bench", "b", panels * panel_bytes);
  engine::Buffer x(context.ledger, "bench", "x", kRows * kSide), c(context.ledger, "bench", "c", kRows * kSide);
  for (int64_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3.0f;
  for (int64_t i = 0; i < b.size(); ++i) b[i] = static_cast<uint8_t>(i % 59);  // as scales: small halves
  engine::quantize_rows(context.pool, context.kernels, x.data(), kRows, kSide, a.data());
  engine::Matmuls products;
  products.add(engine::Int8Matmul{.a = a.data(),
                                  .a_row = kRowBytes,
                                  .format = format,
                                  .b = b.data(),
                                  .b_panel = panel_bytes,
                                  .c = c.data(),
                                  .c_row = kSide,
                                  .rows = kRows,
                                  .panels = panels,
                                  .depth = kSide});
  const double seconds = median_time(9, [&] { engine::run_matmuls(context.pool, context.kernels, products); });
  return {seconds, 2e-9 * kRows * kSide * kSide};
}

Work prefill(const engine::Context& context, const engine::Model& model, int64_t tokens) {
  const std::vector<int32_t> ids = random_prompt(model, tokens, 0);
  engine::SamplingOptions options;
  options.max_new_tokens = 1;
  const std::vector<engine::SampleRequest> request = {{ids, 1}};
  const double seconds =
      median_time(3, [&] { engine::sample(context, model, nullptr, request, options, nullptr, {}); });
  const Shapes shapes(model);
  return {seconds, 1e-9 * (shapes.body * static_cast<double>(tokens) + shapes.head)};
}

double decode(const engine::Context& context, const engine::Model& model, int64_t rows) {
  std::vector<engine::SampleRequest> requests;
  for (int64_t i = 0; i < rows; ++i) requests.push_back({random_prompt(model, 32, static_cast<uint32_t>(i)), 1});
  engine::SamplingOptions options;
  auto run = [&](int64_t tokens) {
    options.max_new_tokens = tokens;
    return median_time(3, [&] { engine::sample(context, model, nullptr, requests, options, nullptr, {}); });
  };
  constexpr int64_t kTokens = 32;
  return static_cast<double>(rows * kTokens) / (run(kTokens + 1) - run(1));
}

Result<Work> grpo_step(const engine::Context& context, const engine::Model& model, int64_t prompt_tokens) {
  constexpr int64_t kPrompts = 4, kGroup = 8, kTokens = 16;
  Adapter adapter = TRY(engine::make_adapter(context, model, all_linear(16), 0));
  const engine::Trainable trainable = engine::trainable_of(adapter);
  engine::AdamwState optimizer = engine::make_adamw(context, trainable);
  engine::PolicyPass pass(context, "policy", model, adapter.max_padded_rank, engine::PolicyPass::Keep::kAllLayers);
  engine::Buffer gradients(context.ledger, "gradients", "gradients", trainable.gradient_floats);
  std::vector<engine::SampleRequest> requests;
  for (int64_t p = 0; p < kPrompts; ++p)
    requests.push_back({random_prompt(model, prompt_tokens, static_cast<uint32_t>(p)), kGroup});
  engine::SamplingOptions options;
  options.max_new_tokens = kTokens;
  const double seconds = median_time(3, [&] {
    const auto sampled = engine::sample(context, model, &adapter, requests, options, nullptr, {});
    gradients.fill_zero();
    std::vector<engine::RolloutGroup> groups;
    for (int64_t p = 0; p < kPrompts; ++p) {
      groups.push_back({requests[p].prompt, {}});
      for (const auto& completion : sampled[p]) groups.back().completions.emplace_back(completion.ids);
    }
    for (int64_t p = 0; p < kPrompts; p += 2) {
      const auto& out = pass.forward(&adapter, std::span(groups).subspan(p, 2), 1.0);
      std::vector<float> coefficients(out.logprobs.size());
      for (size_t i = 0; i < coefficients.size(); ++i) coefficients[i] = i / kTokens % 2 == 0 ? 0.01f : -0.01f;
      pass.backward(trainable, coefficients, std::vector<float>(coefficients.size(), 0.0f), gradients.data());
    }
    const double norm = engine::gradient_norm(context, trainable, gradients.data());
    engine::adamw_step(context, {}, 1e-4, norm, gradients.data(), optimizer, trainable);
  });
  const Shapes shapes(model);
  const double tokens = static_cast<double>(kPrompts * (prompt_tokens + kGroup * (kTokens - 1)));
  const double rows = static_cast<double>(kPrompts * kGroup * kTokens);
  // Sampling, training forward and backward to the activations: three passes through the layers and the head. Adapters
  // and the head's recomputation are overhead here.
  return Work{seconds, 3e-9 * (shapes.body * tokens + shapes.head * rows)};
}

Result<Work> training_step(const engine::Context& context, const engine::Model& model, int64_t rows, int64_t tokens,
                           int64_t rank) {
  Adapter adapter = TRY(engine::make_adapter(context, model, all_linear(rank), 0));
  const engine::Trainable trainable = engine::trainable_of(adapter);
  engine::AdamwState optimizer = engine::make_adamw(context, trainable);
  engine::PolicyPass pass(context, "policy", model, adapter.max_padded_rank, engine::PolicyPass::Keep::kAllLayers);
  engine::Buffer gradients(context.ledger, "gradients", "gradients", trainable.gradient_floats);
  std::vector<std::vector<int32_t>> ids;
  std::vector<engine::RolloutGroup> groups;
  for (int64_t i = 0; i < rows; ++i) ids.push_back(random_prompt(model, tokens + 1, static_cast<uint32_t>(i)));
  for (const auto& row : ids) {
    const std::span<const int32_t> all = row;
    groups.push_back({all.first(1), {all.subspan(1)}});
  }
  const double seconds = median_time(3, [&] {
    gradients.fill_zero();
    const auto entries = pass.forward(&adapter, groups, 1.0).logprobs.size();
    pass.backward(trainable, std::vector<float>(entries, -1.0f / static_cast<float>(entries)),
                  std::vector<float>(entries, 0.0f), gradients.data());
    const double norm = engine::gradient_norm(context, trainable, gradients.data());
    engine::adamw_step(context, {}, 1e-4, norm, gradients.data(), optimizer, trainable);
  });
  const Shapes shapes(model);
  const double all = static_cast<double>(rows * tokens);
  const double adapters = 6.0 * static_cast<double>(adapter.trainable);
  return Work{seconds, 1e-9 * all * (2 * shapes.body + 2 * shapes.head + adapters)};
}

}  // namespace candor::cli
