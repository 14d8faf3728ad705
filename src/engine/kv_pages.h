// Keys and values in pages of 16 positions, so that a prompt's pages can be shared by the rows that continue it.
//
// A page holds, for every layer and key-value head, the keys as [padded(head_dim)][16] (a panel: scores of 16 keys are
// one matrix product) and the values as panels [padded(head_dim)/16][16 keys][16]. A row's page table lists the pages
// of positions 0-15, 16-31, …: blocks lie at absolute positions, so attention adds in the same order whether a query
// comes alone (decoding) or with a thousand others (training). See docs/adr/0004.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/memory.h"
#include "files/model_config.h"

namespace candor::engine {

inline constexpr int64_t kPageTokens = 16;

class KvPool {
 public:
  // `role` names the pages in the ledger.
  KvPool(MemoryLedger& ledger, std::string role, const files::ModelConfig& config);

  int32_t take();              // a zeroed page (zeros are finite: unwritten values are multiplied by 0)
  void retain(int32_t page);   // one more owner
  void release(int32_t page);  // one owner less; the last one gives the page back
  int32_t copy(int32_t page);  // a new page with the same contents

  float* keys(int32_t page, int64_t layer, int64_t kv_head) { return data(page) + offset(layer, kv_head); }
  float* values(int32_t page, int64_t layer, int64_t kv_head) { return keys(page, layer, kv_head) + block_; }
  int64_t layer_floats() const { return kv_heads_ * 2 * block_; }  // of one page and layer, contiguous

  // Stores k and v [kv_heads·head_dim] of one token in slot position % 16 of a page.
  void store(int32_t page, int64_t layer, int64_t position, const float* k, const float* v);

 private:
  float* data(int32_t page) { return slabs_[page / kSlabPages].data() + page % kSlabPages * page_floats_; }
  int64_t offset(int64_t layer, int64_t kv_head) const { return layer * layer_floats() + kv_head * 2 * block_; }

  static constexpr int32_t kSlabPages = 8;
  MemoryLedger& ledger_;
  std::string role_;
  int64_t kv_heads_, head_dim_, block_, page_floats_;
  std::vector<Buffer> slabs_;
  std::vector<int32_t> owners_;  // by page
  std::vector<int32_t> free_;
};

}  // namespace candor::engine
