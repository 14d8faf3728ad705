// candor bench MODEL: what this machine can do, and which fraction of it the engine reaches, in one run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <type_traits>

#include "base/half.h"
#include "base/rng.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/summary.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "engine/kernels/parallel.h"
#include "engine/optimizer.h"
#include "engine/policy_pass.h"
#include "engine/roof.h"
#include "engine/sampler.h"
#include "files/run_log.h"

namespace candor::cli {

namespace {

using engine::Adapter;
using files::Json;

struct Work {
  double seconds, gflop;
};

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

// Operations counted from the shapes, two per multiply-add.
struct Shapes {
  double body = 0, head = 0;  // per token through the layers; per row through the head
  explicit Shapes(const engine::Model& model) {
    for (const auto& layer : model.layers)
      for (const auto& w : layer.linears) body += 2.0 * static_cast<double>(w.out) * static_cast<double>(w.in);
    head = 2.0 * static_cast<double>(model.config.vocab_size) * static_cast<double>(model.config.hidden_size);
  }
};

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
  const double seconds = median_time(9, [&] {
    if constexpr (kFloat32)
      engine::run_matmuls(context.pool, context.kernels, {&product, 1});
    else
      engine::run_matmuls(context.pool, context.kernels, {}, {&product, 1});
  });
  return {seconds, 2e-9 * kRows * kSide * kSide};
}

Work prefill(const Session& s, int64_t tokens) {
  const std::vector<int32_t> ids = random_prompt(s.model, tokens, 0);
  engine::SamplingOptions options;
  options.max_new_tokens = 1;
  const std::vector<engine::SampleRequest> request = {{ids, 1}};
  const double seconds =
      median_time(3, [&] { engine::sample(s.context, s.model, nullptr, request, options, nullptr, {}); });
  const Shapes shapes(s.model);
  return {seconds, 1e-9 * (shapes.body * static_cast<double>(tokens) + shapes.head)};
}

// Tokens a second over all rows, prompts excluded.
double decode(const Session& s, int64_t rows) {
  std::vector<engine::SampleRequest> requests;
  for (int64_t i = 0; i < rows; ++i) requests.push_back({random_prompt(s.model, 32, static_cast<uint32_t>(i)), 1});
  engine::SamplingOptions options;
  auto run = [&](int64_t tokens) {
    options.max_new_tokens = tokens;
    return median_time(3, [&] { engine::sample(s.context, s.model, nullptr, requests, options, nullptr, {}); });
  };
  constexpr int64_t kTokens = 32;
  return static_cast<double>(rows * kTokens) / (run(kTokens + 1) - run(1));
}

// A GRPO step: 4 prompts × 8 completions of 16 tokens, sampled, trained (every group has an advantage) and stepped,
// with LoRA of rank 16 on all linear layers.
Result<Work> grpo_step(const Session& s, int64_t prompt_tokens) {
  constexpr int64_t kPrompts = 4, kGroup = 8, kTokens = 16;
  files::LoraConfig lora;
  lora.r = 16;
  lora.alpha = 32;
  lora.target_modules = {"all-linear"};
  Adapter adapter = TRY(engine::make_adapter(s.context, s.model, lora, 0));
  const engine::Trainable trainable = engine::trainable_of(adapter);
  engine::AdamwState optimizer = engine::make_adamw(s.context, trainable);
  engine::PolicyPass pass(s.context, "policy", s.model, adapter.max_padded_rank, engine::PolicyPass::Keep::kAllLayers);
  engine::Buffer gradients(s.context.ledger, "gradients", "gradients", trainable.gradient_floats);
  std::vector<engine::SampleRequest> requests;
  for (int64_t p = 0; p < kPrompts; ++p)
    requests.push_back({random_prompt(s.model, prompt_tokens, static_cast<uint32_t>(p)), kGroup});
  engine::SamplingOptions options;
  options.max_new_tokens = kTokens;
  const double seconds = median_time(3, [&] {
    const auto sampled = engine::sample(s.context, s.model, &adapter, requests, options, nullptr, {});
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
    const double norm = engine::gradient_norm(s.context, trainable, gradients.data());
    engine::adamw_step(s.context, {}, 1e-4, norm, gradients.data(), optimizer, trainable);
  });
  const Shapes shapes(s.model);
  const double tokens = static_cast<double>(kPrompts * (prompt_tokens + kGroup * (kTokens - 1)));
  const double rows = static_cast<double>(kPrompts * kGroup * kTokens);
  // Sampling, training forward and backward to the activations: three passes through the layers and the head. Adapters
  // and the head's recomputation are overhead here.
  return Work{seconds, 3e-9 * (shapes.body * tokens + shapes.head * rows)};
}

Result<Json> run_bench(const ModelOptions& options) {
  const auto session = TRY(open_session(options.model, "", options.threads, options.dtype));
  const Session& s = *session;
  const engine::Roof roof = engine::measure_roof(session->pool, s.context.kernels);
  const bool float32 = s.model.dtype == engine::Dtype::kFloat32;
  auto fraction = [&](const Work& work) {
    return work.gflop / work.seconds / (float32 ? roof.float32_gflops : roof.bf16_gflops);
  };
  const Work product = gemm<float>(s.context), bf16_product = gemm<uint16_t>(s.context);
  const Work prompt = prefill(s, 512), step = TRY(grpo_step(s, 40));
  const engine::Roof again = engine::measure_roof(session->pool, s.context.kernels);
  const double weight_bytes = float32 ? 4 : 2;
  const double weights_gb = 1e-9 * weight_bytes * (Shapes(s.model).body + Shapes(s.model).head) / 2;
  const double one = decode(s, 1), sixteen = decode(s, 16);
  return Json{{"machine", machine(s.context)},
              {"dtype", engine::dtype_name(s.model.dtype)},
              {"roof_gflops", roof.float32_gflops},
              {"roof_gflops_again", again.float32_gflops},
              {"roof_bf16_gflops", roof.bf16_gflops},
              {"roof_dram_gbs", roof.dram_read_gbs},
              {"gemm_gflops", product.gflop / product.seconds},
              {"gemm_fraction", product.gflop / product.seconds / roof.float32_gflops},
              {"gemm_bf16_gflops", bf16_product.gflop / bf16_product.seconds},
              {"gemm_bf16_fraction", bf16_product.gflop / bf16_product.seconds / roof.bf16_gflops},
              {"prefill_tokens_per_s", 512 / prompt.seconds},
              {"prefill_fraction", fraction(prompt)},
              {"decode_tokens_per_s", one},
              {"decode_dram_fraction", one * weights_gb / roof.dram_read_gbs},
              {"decode16_tokens_per_s", sixteen},
              {"grpo_step_s", step.seconds},
              {"grpo_step_tflop", step.gflop * 1e-3},
              {"grpo_step_fraction", fraction(step)},
              {"peak_bytes", peak_resident_bytes()}};
}

void print_bench(const Json& b) {
  auto number = [&](const char* name) { return b[name].get<double>(); };
  fmt::print(
      "roof            {:8.1f} GFLOP/s float32 on {} threads ({} kernels; {:.1f} after the run), {:.1f} bfloat16, "
      "{:.1f} "
      "GB/s from memory\n",
      number("roof_gflops"), b["machine"]["cores"].get<int>(), b["machine"]["kernels"].get<std::string>(),
      number("roof_gflops_again"), number("roof_bf16_gflops"), number("roof_dram_gbs"));
  fmt::print("GEMM            {:8.1f} GFLOP/s             {:3.0f}% of the roof   512 x 2048 x 2048, float32\n",
             number("gemm_gflops"), 100 * number("gemm_fraction"));
  fmt::print("GEMM            {:8.1f} GFLOP/s             {:3.0f}% of the roof   512 x 2048 x 2048, bfloat16\n",
             number("gemm_bf16_gflops"), 100 * number("gemm_bf16_fraction"));
  fmt::print("prefill         {:8.1f} tokens/s            {:3.0f}% of the roof   512 tokens, model in {}\n",
             number("prefill_tokens_per_s"), 100 * number("prefill_fraction"), b["dtype"].get<std::string>());
  fmt::print("decode, 1 row   {:8.1f} tokens/s            {:3.0f}% of the memory roof\n", number("decode_tokens_per_s"),
             100 * number("decode_dram_fraction"));
  fmt::print("decode, 16 rows {:8.1f} tokens/s\n", number("decode16_tokens_per_s"));
  fmt::print(
      "GRPO step       {:8.2f} s                   {:3.0f}% of the roof   4 prompts x 8, 16 tokens, {:.2f} TFLOP\n",
      number("grpo_step_s"), 100 * number("grpo_step_fraction"), number("grpo_step_tflop"));
  fmt::print("peak memory     {:8.2f} GB\n", 1e-9 * number("peak_bytes"));
}

}  // namespace

int bench(const Words& words) {
  Options options("bench",
                  "Measures this machine's roof and, in the same run, the fraction of it that the engine reaches.");
  ModelOptions model;
  model.add_model(options.app);
  model.add_dtype(options.app);
  model.add_threads(options.app);
  model.add_json(options.app, "one JSON object instead of a table");
  if (const auto over = options.parse(words)) return *over;
  const auto figures = run_bench(model);
  if (!figures) return fail(figures.error());
  if (model.json)
    fmt::print("{}\n", files::json_line(*figures));
  else
    print_bench(*figures);
  return kOk;
}

}  // namespace candor::cli
