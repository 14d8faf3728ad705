// Keys and values in pages of 16 positions, so that a prompt's pages can be shared by the rows that continue it.
//
// A page holds, for every layer and key-value head, the keys as [padded(head_dim)][16] (a panel: scores of 16 keys are
// one matrix product) and the values as panels [padded(head_dim)/16][16 keys][16]. A row's page table lists the pages
// of positions 0-15, 16-31, …: blocks lie at absolute positions, so attention adds in the same order whether a query
// comes alone (decoding) or with a thousand others (training). See docs/adr/0004.
//
// With bfloat16 the numbers are rounded when they are stored, once, and widened block by block where attention reads
// them: sampler and trainer see the same values.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/dtype.h"
#include "engine/kernels/kernels.h"
#include "engine/memory.h"
#include "files/model_config.h"

namespace candor::engine {

inline constexpr int64_t kPageTokens = 16;
inline constexpr int32_t kSlabPages = 8;  // allocated at a time

// Exactly what a pool takes once it has held so many pages.
int64_t kv_pool_bytes(const files::ModelConfig& config, Dtype dtype, int64_t pages, int64_t layers);

class KvPool {
 public:
  // `role` names the pages in the ledger; dtype: the model's. layers: the model's, or 1, where each layer takes the
  // place of the one before.
  KvPool(MemoryLedger& ledger, std::string role, const files::ModelConfig& config, Dtype dtype, int64_t layers);
  KvPool(MemoryLedger& ledger, std::string role, const files::ModelConfig& config, Dtype dtype)
      : KvPool(ledger, std::move(role), config, dtype, config.layers) {}

  // Of a planned ledger: counts room for `pages` pages in all. Such a pool has no page to take.
  void plan(int64_t pages);

  int32_t take();              // a zeroed page (zeros are finite: unwritten values are multiplied by 0)
  void retain(int32_t page);   // one more owner
  void release(int32_t page);  // one owner less; the last one gives the page back
  int32_t copy(int32_t page);  // a new page with the same contents

  // Of one page, layer and head: where they lie, or widened into `scratch` of padded(head_dim)·16 floats.
  const float* keys(const Kernels& kernels, int32_t page, int64_t layer, int64_t kv_head, float* scratch) const;
  const float* values(const Kernels& kernels, int32_t page, int64_t layer, int64_t kv_head, float* scratch) const;

  // Stores k and v [kv_heads·head_dim] of one token in slot position % 16 of a page.
  void store(int32_t page, int64_t layer, int64_t position, const float* k, const float* v);

  // Copies the first `slots` positions of a layer's page.
  void copy_slots(int32_t from, int32_t to, int64_t layer, int64_t slots);

 private:
  void add_slab(int64_t slabs);  // as one buffer
  int64_t offset(int64_t layer, int64_t kv_head) const { return (layer % layers_ * kv_heads_ + kv_head) * 2 * block_; }
  int64_t place(int32_t page) const { return page % kSlabPages * page_size_; }  // in its slab
  float* data(int32_t page) { return slabs_[page / kSlabPages].data() + place(page); }
  uint16_t* bf16_data(int32_t page) { return bf16_slabs_[page / kSlabPages].data() + place(page); }
  const float* block(const Kernels& kernels, int32_t page, int64_t at, float* scratch) const;

  MemoryLedger& ledger_;
  std::string role_;
  Dtype dtype_;
  int64_t layers_, kv_heads_, head_dim_, block_, page_size_;  // sizes in numbers
  std::vector<Buffer> slabs_;                                 // float32, or …
  std::vector<Bf16Buffer> bf16_slabs_;                        // … bfloat16
  std::vector<int32_t> owners_;                               // by page
  std::vector<int32_t> free_;
  int64_t planned_slabs_ = 0;
};

}  // namespace candor::engine
