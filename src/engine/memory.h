// Buffers, named and counted where they are allocated, so that a memory plan can be compared with what was used.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace candor::engine {

// What a program holds in large buffers, by role ("weights", "adapter", "activations", …) and name. Thread-safe.
class MemoryLedger {
 public:
  struct Entry {
    std::string role, name;
    int64_t bytes = 0, peak_bytes = 0;
  };
  MemoryLedger() = default;
  // Counts in `whole`, which outlives it: under this role, with the buffer's own role before its name.
  MemoryLedger(MemoryLedger& whole, std::string role) : whole_(&whole), role_(std::move(role)) {}
  void change(const std::string& role, const std::string& name, int64_t bytes);
  int64_t bytes() const;
  int64_t peak_bytes() const;  // the largest total so far
  std::vector<Entry> entries() const;

 private:
  MemoryLedger* whole_ = nullptr;
  std::string role_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> held_;  // now, peak
  int64_t bytes_ = 0, peak_ = 0;
};

// Zero-filled numbers, aligned to 64 bytes (large ones to huge pages). Movable, not copyable. The ledger outlives it.
template <typename Number>
class NumberBuffer {
 public:
  NumberBuffer() = default;
  NumberBuffer(MemoryLedger& ledger, std::string role, std::string name, int64_t count);
  NumberBuffer(NumberBuffer&& other) noexcept { swap(other); }
  NumberBuffer& operator=(NumberBuffer&& other) noexcept {
    NumberBuffer(std::move(other)).swap(*this);
    return *this;
  }
  ~NumberBuffer();

  Number* data() { return data_; }
  const Number* data() const { return data_; }
  int64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void fill_zero() { std::memset(data_, 0, sizeof(Number) * static_cast<size_t>(size_)); }
  Number& operator[](int64_t i) { return data_[i]; }
  const Number& operator[](int64_t i) const { return data_[i]; }

 private:
  void swap(NumberBuffer& other) noexcept;

  MemoryLedger* ledger_ = nullptr;
  std::string role_, name_;
  Number* data_ = nullptr;
  int64_t size_ = 0;
};
using Buffer = NumberBuffer<float>;
using Bf16Buffer = NumberBuffer<uint16_t>;  // bfloat16 numbers, as their bits
using ByteBuffer = NumberBuffer<uint8_t>;

}  // namespace candor::engine
