// The works that `candor bench` times. Each is run once without counting, then several times, and the median counts.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "engine/model.h"

namespace candor::cli {

// Operations are counted from the shapes, two per multiply-add: what a work needs, nothing computed twice.
struct Work {
  double seconds, gflop;
};

// Operations of a model: per token through its layers, per row through its head. And the bytes of those weights.
struct Shapes {
  double body = 0, head = 0, bytes = 0;
  explicit Shapes(const engine::Model& model);
};

// 512 × 2048 × 2048, as the engine multiplies.
Work float32_gemm(const engine::Context& context);
Work bf16_gemm(const engine::Context& context);
Work int8_gemm(const engine::Context& context);

// One prompt, to its first token.
Work prefill(const engine::Context& context, const engine::Model& model, int64_t tokens);

// Tokens a second over all rows, prompts excluded.
double decode(const engine::Context& context, const engine::Model& model, int64_t rows);

// A GRPO step: 4 prompts × 8 completions of 16 tokens, sampled, trained (every group has an advantage) and stepped,
// with LoRA of rank 16 on all linear layers.
Result<Work> grpo_step(const engine::Context& context, const engine::Model& model, int64_t prompt_tokens);

// An SFT step in which every token counts: forward, backward and optimizer, with LoRA on all linear layers.
Result<Work> training_step(const engine::Context& context, const engine::Model& model, int64_t rows, int64_t tokens,
                           int64_t rank);

}  // namespace candor::cli
