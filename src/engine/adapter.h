// Adapters of a frozen base: LoRA (Hu et al., arXiv 2106.09685), y = W x + b + s·B(A x), s = alpha/r, or alpha/sqrt(r)
// with rsLoRA (2312.03732); and DoRA (2402.09353), y = m/n ⊙ (W x + s·B(A x)) + b with n the norm of each row of
// W + s·B·A, a constant of the backward pass. (Of an embedding the rows of W are those of its transpose: one for each
// hidden dimension.)
//
// The numbers of all pairs lie in one flat buffer; a gradient buffer begins with the same layout (trainable.h). In it a
// pair is A [padded(r)][padded(in)], then B [padded(out)][padded(r)], row-major, then with DoRA m [padded(out)], with
// zeros in the padding (their gradients are zero, so they stay zero).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "files/peft_adapter.h"

namespace candor::engine {

// Where a pair sits. Of an embedding `in` is the vocabulary: x is a one in the token's place, A x one of A's columns.
enum class Site { kLinear, kEmbedding, kHead };

struct LoraPair {
  Site site = Site::kLinear;
  std::string module;  // "model.layers.0.self_attn.q_proj"
  int64_t layer = 0;   // with the next, of a linear layer
  Linear linear = Linear::kQ;
  int64_t rank = 0, in = 0, out = 0;
  // PiSSA: as many ranks more, with A and B as they began, taken off again, so that the base stays the base:
  // y = W x + s·(B A − B0 A0) x. Otherwise 0.
  int64_t start_rank = 0;
  float scale = 1.0f;
  const PackedMatrix* base = nullptr;                         // the matrix that it adapts
  int64_t a_offset = 0, b_offset = 0, magnitude_offset = -1;  // into Adapter::parameters and every gradient buffer
  int64_t a_packed = 0, b_packed = 0, gain = -1, norm = -1;   // into Adapter::packed; the last two with DoRA
  int64_t start_a = 0, start_b = 0;                           // into Adapter::start
  int64_t base_squares = -1;                                  // the same
  int64_t a_size() const { return padded(rank) * padded(in); }
  int64_t b_size() const { return padded(out) * padded(rank); }
  bool dora() const { return magnitude_offset >= 0; }
  // What goes through the forward pass: the trained ranks, then those of the start, each padded.
  int64_t all_ranks() const { return padded(rank) + padded(start_rank); }
};

// Whole weights with values of the adapter's own, which take the place of the base's (PEFT's modules_to_save). Float32
// whatever the base is. With a tied head, each of the two is a copy of its own, as in PEFT.
struct SavedModules {
  std::optional<PackedMatrix> embedding, head;
};

// Refers to matrices of the model it was made for, which must stay where they are.
struct Adapter {
  files::LoraConfig config;
  std::string embedding_module;                      // "model.embed_tokens"
  std::vector<LoraPair> pairs;                       // by layer, in the order of Linear; then embedding, head
  std::vector<std::array<int32_t, kLinears>> index;  // [layer][linear] -> pair, or -1
  int32_t embedding_index = -1, head_index = -1;
  SavedModules saved;
  Buffer parameters;  // what is trained of the pairs
  Buffer start;       // A0 and −B0 of each pair with a start, laid out as its A and B
  // What follows from them, which pack_adapter() refreshes: of each pair s·A and B of all ranks as panels; with DoRA
  // m/n [out], n [out], and the base's squared row norms [out].
  Buffer packed;
  int64_t trainable = 0;  // parameters without padding, saved modules included
  int64_t max_padded_rank = 0;

  const LoraPair* find(int64_t layer, Linear linear) const {
    const int32_t i = index[layer][static_cast<int>(linear)];
    return i < 0 ? nullptr : &pairs[i];
  }
  const LoraPair* embedding_pair() const { return embedding_index < 0 ? nullptr : &pairs[embedding_index]; }
  const LoraPair* head_pair() const { return head_index < 0 ? nullptr : &pairs[head_index]; }
};

// What a role computes with; adapter may be null.
inline const PackedMatrix& embedding_of(const Model& model, const Adapter* adapter) {
  return adapter != nullptr && adapter->saved.embedding ? *adapter->saved.embedding : model.embedding;
}
inline const PackedMatrix& head_of(const Model& model, const Adapter* adapter) {
  return adapter != nullptr && adapter->saved.head ? *adapter->saved.head : model.head_matrix();
}

// A fresh adapter with PEFT's initialisation (config.init), drawn from (seed, initialisation, pair, element): by
// default A uniform in ±1/sqrt(in) (kaiming_uniform with a = sqrt(5)), B zero. DoRA's magnitudes begin as the norms,
// and modules_to_save as the base's. Error: a target that this engine does not adapt, or none that matches; a module to
// save other than lm_head and embed_tokens.
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
