// LoRA adapters (Hu et al., arXiv 2106.09685): y = W x + s·B(A x), s = alpha/r, or alpha/sqrt(r) with rsLoRA
// (2312.03732).
//
// The numbers of all pairs lie in one flat buffer; a gradient buffer begins with the same layout (trainable.h). In it a
// pair is A [padded(r)][padded(in)], then B [padded(out)][padded(r)], row-major, with zeros in the padding (their
// gradients are zero, so they stay zero).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "files/peft_adapter.h"

namespace candor::engine {

struct LoraPair {
  int64_t layer = 0;
  Linear linear = Linear::kQ;
  int64_t rank = 0, in = 0, out = 0;
  int64_t a_offset = 0, b_offset = 0;  // into Adapter::parameters and every gradient buffer
  int64_t a_packed = 0, b_packed = 0;  // into Adapter::packed, which holds s·A and B as panels
  int64_t a_size() const { return padded(rank) * padded(in); }
  int64_t b_size() const { return padded(out) * padded(rank); }
};

// Whole weights with values of the adapter's own, which take the place of the base's (PEFT's modules_to_save). Float32
// whatever the base is. With a tied head, each of the two is a copy of its own, as in PEFT.
struct SavedModules {
  std::optional<PackedMatrix> embedding, head;
};

struct Adapter {
  files::LoraConfig config;
  float scale = 1.0f;
  std::vector<LoraPair> pairs;                       // by layer, then in the order of Linear
  std::vector<std::array<int32_t, kLinears>> index;  // [layer][linear] -> pair, or -1
  SavedModules saved;
  Buffer parameters;      // what is trained of the pairs
  Buffer packed;          // A and B as panels for the forward; pack_adapter() refreshes
  int64_t trainable = 0;  // parameters without padding, saved modules included
  int64_t max_padded_rank = 0;

  const LoraPair* find(int64_t layer, Linear linear) const {
    const int32_t i = index[layer][static_cast<int>(linear)];
    return i < 0 ? nullptr : &pairs[i];
  }
};

// What a role computes with; adapter may be null.
inline const PackedMatrix& embedding_of(const Model& model, const Adapter* adapter) {
  return adapter != nullptr && adapter->saved.embedding ? *adapter->saved.embedding : model.embedding;
}
inline const PackedMatrix& head_of(const Model& model, const Adapter* adapter) {
  return adapter != nullptr && adapter->saved.head ? *adapter->saved.head : model.head_matrix();
}

// A fresh adapter with PEFT's initialisation: A uniform in ±1/sqrt(in) (kaiming_uniform with a = sqrt(5)), B zero,
// drawn from (seed, initialisation, pair, element); modules_to_save begin as the base's. Error: a target that this
// engine does not adapt, or none that matches; a module to save other than lm_head and embed_tokens.
Result<Adapter> make_adapter(const Context& context, const Model& model, const files::LoraConfig& config,
                             uint64_t seed);

// An adapter as it was saved. Error: tensors missing, of another shape (made for another base), or not finite.
Result<Adapter> adapter_from_peft(const Context& context, const Model& model, const files::PeftAdapter& saved);

// Whether an adapter was trained on this model's weights, as far as its file says (LoraConfig::base_fingerprint; PEFT's
// own say nothing). adapter_from_peft asks only for the shapes: that another base is meant is the user's to say.
Result<void> check_base(const Model& model, const files::PeftAdapter& saved);

// For saving: pairs in their order, then the saved modules.
files::PeftAdapter adapter_to_peft(const Adapter& adapter);

// Call after every change of `parameters`.
void pack_adapter(const Context& context, Adapter& adapter);

}  // namespace candor::engine
