#include "engine/kv_pages.h"

#include <algorithm>

#include "base/check.h"
#include "base/half.h"

namespace candor::engine {

namespace {

// One token's key and value of one head into their slot; `stored` rounds.
template <typename Number, typename Stored>
void store_head(const float* k, const float* v, int64_t head_dim, int64_t slot, Number* keys, Number* values,
                Stored stored) {
  for (int64_t d = 0; d < head_dim; ++d) {
    keys[d * kPageTokens + slot] = stored(k[d]);
    values[d / kPanel * (kPageTokens * kPanel) + slot * kPanel + d % kPanel] = stored(v[d]);
  }
}

// The first slots of one head's keys and values; `width` is the padded head_dim.
template <typename Number>
void copy_head_slots(const Number* from, int64_t slots, int64_t width, Number* to) {
  for (int64_t d = 0; d < width; ++d) std::copy_n(from + d * kPageTokens, slots, to + d * kPageTokens);
  from += width * kPageTokens, to += width * kPageTokens;
  for (int64_t panel = 0; panel < width / kPanel; ++panel)
    std::copy_n(from + panel * kPageTokens * kPanel, slots * kPanel, to + panel * kPageTokens * kPanel);
}

}  // namespace

int64_t kv_pool_bytes(const files::ModelConfig& config, Dtype dtype, int64_t pages, int64_t layers) {
  const int64_t slabs = (pages + kSlabPages - 1) / kSlabPages;
  const int64_t numbers = layers * config.kv_heads * 2 * padded(config.head_dim) * kPageTokens;
  return slabs * kSlabPages * numbers * (kv_dtype(dtype) == Dtype::kFloat32 ? 4 : 2);
}

KvPool::KvPool(MemoryLedger& ledger, std::string role, const files::ModelConfig& config, Dtype dtype, int64_t layers)
    : ledger_(ledger),
      role_(std::move(role)),
      dtype_(kv_dtype(dtype)),
      layers_(layers),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      block_(padded(config.head_dim) * kPageTokens),
      page_size_(layers * kv_heads_ * 2 * block_) {}

void KvPool::add_slab(int64_t slabs) {
  if (dtype_ == Dtype::kFloat32)
    slabs_.emplace_back(ledger_, role_, "kv pages", slabs * kSlabPages * page_size_);
  else
    bf16_slabs_.emplace_back(ledger_, role_, "kv pages", slabs * kSlabPages * page_size_);
}

void KvPool::plan(int64_t pages) {
  CHECK(ledger_.planned());
  constexpr int64_t kMostNumbers = int64_t{1} << 56;  // more stays that many: an absurd plan must not overflow
  const int64_t most = std::max<int64_t>(1, kMostNumbers / (kSlabPages * page_size_));
  const int64_t slabs = std::min((pages + kSlabPages - 1) / kSlabPages, most);
  if (slabs > planned_slabs_) add_slab(slabs - planned_slabs_);
  planned_slabs_ = std::max(planned_slabs_, slabs);
}

int32_t KvPool::take() {
  if (free_.empty()) {
    const auto first = static_cast<int32_t>(owners_.size());
    add_slab(1);
    owners_.resize(owners_.size() + kSlabPages, 0);
    for (int32_t page = first + kSlabPages - 1; page >= first; --page) free_.push_back(page);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  if (dtype_ == Dtype::kFloat32)
    std::fill_n(data(page), page_size_, 0.0f);
  else
    std::fill_n(bf16_data(page), page_size_, uint16_t{0});
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
  if (dtype_ == Dtype::kFloat32)
    std::copy_n(data(page), page_size_, data(copied));
  else
    std::copy_n(bf16_data(page), page_size_, bf16_data(copied));
  return copied;
}

const float* KvPool::block(const Kernels& kernels, int32_t page, int64_t at, float* scratch) const {
  const size_t slab = page / kSlabPages;
  if (dtype_ == Dtype::kFloat32) return slabs_[slab].data() + place(page) + at;
  kernels.widen_bf16(bf16_slabs_[slab].data() + place(page) + at, block_, scratch);
  return scratch;
}

const float* KvPool::keys(const Kernels& kernels, int32_t page, int64_t layer, int64_t kv_head, float* scratch) const {
  return block(kernels, page, offset(layer, kv_head), scratch);
}

const float* KvPool::values(const Kernels& kernels, int32_t page, int64_t layer, int64_t kv_head,
                            float* scratch) const {
  return block(kernels, page, offset(layer, kv_head) + block_, scratch);
}

void KvPool::store(int32_t page, int64_t layer, int64_t position, const float* k, const float* v) {
  const int64_t slot = position % kPageTokens;
  for (int64_t head = 0; head < kv_heads_; ++head, k += head_dim_, v += head_dim_) {
    const int64_t at = offset(layer, head);
    if (dtype_ == Dtype::kFloat32) {
      float* keys = data(page) + at;
      store_head(k, v, head_dim_, slot, keys, keys + block_, [](float x) { return x; });
    } else {
      uint16_t* keys = bf16_data(page) + at;
      store_head(k, v, head_dim_, slot, keys, keys + block_, float_to_bfloat16);
    }
  }
}

void KvPool::copy_slots(int32_t from, int32_t to, int64_t layer, int64_t slots) {
  const int64_t width = padded(head_dim_);
  for (int64_t head = 0; head < kv_heads_; ++head) {
    const int64_t at = offset(layer, head);
    if (dtype_ == Dtype::kFloat32)
      copy_head_slots(data(from) + at, slots, width, data(to) + at);
    else
      copy_head_slots(bf16_data(from) + at, slots, width, bf16_data(to) + at);
  }
}

}  // namespace candor::engine
