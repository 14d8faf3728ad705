// A scalar head (or one of K labels) over final hidden states: value = w·h + b at named token rows. A critic's looks at
// every state, a reward model's at the last token, a process reward's at marked ones.
//
// It belongs to its role as an adapter does: float32 whatever the base is, and it sees the hidden state unrounded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "files/safetensors.h"

namespace candor::engine {

inline constexpr const char* kScoreHead = "score";           // Transformers' sequence classifier: no bias
inline constexpr const char* kValueHead = "v_head.summary";  // TRL's value head

struct ScalarHead {
  std::string module;  // what it is called in files; its tensors are MODULE.weight and MODULE.bias
  int64_t labels = 0, width = 0;
  Buffer weight;  // [labels][padded(width)], zeros in the padding
  Buffer bias;    // [padded(labels)], or empty
};

// A fresh one. Score: normal with deviation ModelConfig::initializer_range, as Transformers starts it, and no bias, or
// (of a token classifier) zeros.
// Value head: weight and bias uniform in ±1/sqrt(width), as torch's Linear and so TRL's v_head starts. Drawn from
// (seed, initialisation, weight or bias, element).
ScalarHead make_score_head(const Context& context, const Model& model, int64_t labels, uint64_t seed,
                           bool bias = false);
ScalarHead make_value_head(const Context& context, const Model& model, uint64_t seed);

// The head of this name among tensors of a file. Error: its weight is absent or not [labels, hidden], its bias not
// [labels], a number not finite.
Result<ScalarHead> scalar_head_of(const Context& context, const Model& model, const std::string& module,
                                  std::span<const files::FloatTensor> tensors);

// The score head of a sequence classifier's files (config.labels > 0).
Result<ScalarHead> read_score_head(const Context& context, const Model& model, const files::ModelFiles& files);

// For saving: MODULE.weight [labels, width], and MODULE.bias [labels] where there is one.
std::vector<files::FloatTensor> scalar_head_tensors(const ScalarHead& head);

// Values [rows][labels] of the hidden states [*, padded(width)] at these token rows. Each is one sum over the width in
// order, in double, rounded once.
std::vector<float> scalar_head_forward(const Context& context, const ScalarHead& head, const float* hidden,
                                       std::span<const int64_t> rows);

// dvalues [rows][labels] -> adds into dhidden [*, padded(width)] and, where they are not null, into the gradients of
// weight and bias, laid out as those: rows in their order, so that any split of them into calls gives the same bits.
void scalar_head_backward(const Context& context, const ScalarHead& head, const float* hidden,
                          std::span<const int64_t> rows, std::span<const float> dvalues, float* dhidden, float* dweight,
                          float* dbias);

}  // namespace candor::engine
