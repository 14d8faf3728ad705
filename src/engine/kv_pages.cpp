#include "engine/kv_pages.h"

#include <cstring>

#include "base/check.h"
#include "engine/kernels/kernels.h"

namespace candor::engine {

KvPool::KvPool(MemoryLedger& ledger, std::string role, const files::ModelConfig& config)
    : ledger_(ledger),
      role_(std::move(role)),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      block_(padded(config.head_dim) * kPageTokens),
      page_floats_(config.layers * layer_floats()) {}

int32_t KvPool::take() {
  if (free_.empty()) {
    const auto first = static_cast<int32_t>(owners_.size());
    slabs_.emplace_back(ledger_, role_, "kv pages", kSlabPages * page_floats_);
    owners_.resize(owners_.size() + kSlabPages, 0);
    for (int32_t page = first + kSlabPages - 1; page >= first; --page) free_.push_back(page);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  std::memset(data(page), 0, sizeof(float) * static_cast<size_t>(page_floats_));
  return page;
}

void KvPool::retain(int32_t page) {
  CHECK(owners_[page] > 0);
  ++owners_[page];
}

void KvPool::release(int32_t page) {
  CHECK(owners_[page] > 0);
  if (--owners_[page] == 0) free_.push_back(page);
}

int32_t KvPool::copy(int32_t page) {
  const int32_t copied = take();
  std::memcpy(data(copied), data(page), sizeof(float) * static_cast<size_t>(page_floats_));
  return copied;
}

void KvPool::store(int32_t page, int64_t layer, int64_t position, const float* k, const float* v) {
  const int64_t slot = position % kPageTokens;
  for (int64_t head = 0; head < kv_heads_; ++head, k += head_dim_, v += head_dim_) {
    float* key_block = keys(page, layer, head);
    float* value_block = values(page, layer, head);
    for (int64_t d = 0; d < head_dim_; ++d) {
      key_block[d * kPageTokens + slot] = k[d];
      value_block[d / kPanel * (kPageTokens * kPanel) + slot * kPanel + d % kPanel] = v[d];
    }
  }
}

}  // namespace candor::engine
