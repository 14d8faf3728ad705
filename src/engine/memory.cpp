#include "engine/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"

namespace candor::engine {

void MemoryLedger::change(const std::string& role, const std::string& name, int64_t bytes) {
  std::lock_guard lock(mutex_);
  auto& [now, peak] = held_[{role, name}];
  now += bytes;
  peak = std::max(peak, now);
  bytes_ += bytes;
  peak_ = std::max(peak_, bytes_);
}

int64_t MemoryLedger::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

int64_t MemoryLedger::peak_bytes() const {
  std::lock_guard lock(mutex_);
  return peak_;
}

std::vector<MemoryLedger::Entry> MemoryLedger::entries() const {
  std::lock_guard lock(mutex_);
  std::vector<Entry> all;
  for (const auto& [key, held] : held_) all.push_back({key.first, key.second, held.first, held.second});
  return all;
}

template <typename Number>
NumberBuffer<Number>::NumberBuffer(MemoryLedger& ledger, std::string role, std::string name, int64_t count)
    : ledger_(&ledger), role_(std::move(role)), name_(std::move(name)), size_(count) {
  CHECK(count >= 0);
  if (count == 0) return;
  constexpr size_t kHugePage = size_t{2} << 20;
  const size_t bytes = sizeof(Number) * static_cast<size_t>(count);
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
  data_ = static_cast<Number*>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
  CHECK(data_ != nullptr);
  if (alignment == kHugePage) madvise(data_, bytes, MADV_HUGEPAGE);
  fill_zero();
  ledger_->change(role_, name_, static_cast<int64_t>(bytes));
}

template <typename Number>
NumberBuffer<Number>::~NumberBuffer() {
  if (data_ == nullptr) return;
  std::free(data_);
  ledger_->change(role_, name_, -static_cast<int64_t>(sizeof(Number)) * size_);
}

template <typename Number>
void NumberBuffer<Number>::swap(NumberBuffer& other) noexcept {
  std::swap(ledger_, other.ledger_);
  std::swap(role_, other.role_);
  std::swap(name_, other.name_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

template class NumberBuffer<float>;
template class NumberBuffer<uint16_t>;

}  // namespace candor::engine
