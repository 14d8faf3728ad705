#include "engine/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"

namespace candor::engine {

void MemoryLedger::change(const std::string& role, const std::string& name, int64_t bytes) {
  if (whole_ != nullptr) return whole_->change(role_, role + " " + name, bytes);
  std::lock_guard lock(mutex_);
  auto& [now, peak] = held_[{role, name}];
  now += bytes;
  peak = std::max(peak, now);
  bytes_ += bytes;
  if (bytes_ <= peak_) return;
  peak_ = bytes_;
  if (in_phase_ && planned()) note_peak();
}

void MemoryLedger::begin_phase() {
  std::lock_guard lock(mutex_);
  in_phase_ = true;
  peak_ = bytes_;
  if (planned()) note_peak();
}

void MemoryLedger::note_peak() {
  at_peak_.clear();
  for (const auto& [key, held] : held_)
    if (held.first > 0) at_peak_.push_back({key.first, key.second, held.first, 0});
}

std::vector<MemoryLedger::Entry> MemoryLedger::phase_entries() const {
  std::lock_guard lock(mutex_);
  return at_peak_;
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

namespace {

// From here on a buffer is a mapping of its own: the system hands out pages of zeros, and does so where they are first
// written, which for weights is on every thread at once.
constexpr size_t kMapped = size_t{256} << 10;

void* allocate_zeroed(size_t bytes) {
  if (bytes < kMapped) {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    CHECK(data != nullptr);
    return std::memset(data, 0, bytes);
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(data != MAP_FAILED);
  // Neighbouring mappings become one, so that huge pages reach across them.
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

void release(void* data, size_t bytes) {
  if (bytes < kMapped)
    std::free(data);
  else
    munmap(data, bytes);
}

// Addresses without memory. Null where there are not as many.
void* reserve_addresses(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

}  // namespace

template <typename Number>
NumberBuffer<Number>::NumberBuffer(MemoryLedger& ledger, std::string role, std::string name, int64_t count)
    : ledger_(&ledger), role_(std::move(role)), name_(std::move(name)), size_(count) {
  CHECK(count >= 0);
  if (count == 0) return;
  data_ = static_cast<Number*>(ledger.planned() ? reserve_addresses(bytes()) : allocate_zeroed(bytes()));
  ledger_->change(role_, name_, static_cast<int64_t>(bytes()));
}

template <typename Number>
NumberBuffer<Number>::~NumberBuffer() {
  if (size_ == 0) return;
  if (!ledger_->planned())
    release(data_, bytes());
  else if (data_ != nullptr)
    munmap(data_, bytes());
  ledger_->change(role_, name_, -static_cast<int64_t>(bytes()));
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
template class NumberBuffer<uint8_t>;
template class NumberBuffer<double>;

}  // namespace candor::engine
