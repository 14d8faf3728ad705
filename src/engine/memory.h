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

// What a program holds in large buffers, by role ("weights", "adapter", "policy", …) and name. Thread-safe.
//
// Of a planned ledger the buffers are counted and get no memory: whoever touches one faults. So the code that allocates
// for a run also says, on the same lines, what a run would allocate (memory_plan.h).
class MemoryLedger {
 public:
  enum class Kind { kReal, kPlanned };
  struct Entry {
    std::string role, name;
    int64_t bytes = 0, peak_bytes = 0;
  };

  explicit MemoryLedger(Kind kind = Kind::kReal) : kind_(kind) {}
  // Counts in `whole`, which outlives it: under this role, with the buffer's own role before its name.
  MemoryLedger(MemoryLedger& whole, std::string role) : kind_(whole.kind_), whole_(&whole), role_(std::move(role)) {}
  bool planned() const { return kind_ == Kind::kPlanned; }
  void change(const std::string& role, const std::string& name, int64_t bytes);
  int64_t bytes() const;
  int64_t peak_bytes() const;  // the largest total so far
  std::vector<Entry> entries() const;

  // From here on the total's peak is that of a new phase; what is held stays held.
  void begin_phase();
  // Of a planned ledger: what was held when the phase was at its peak. Their peak_bytes are 0.
  std::vector<Entry> phase_entries() const;

 private:
  void note_peak();

  const Kind kind_;
  MemoryLedger* whole_ = nullptr;
  std::string role_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> held_;  // now, peak
  std::vector<Entry> at_peak_;
  bool in_phase_ = false;
  int64_t bytes_ = 0, peak_ = 0;
};

// Counts bytes that are held outside of the buffers below, in a container.
class CountedBytes {
 public:
  CountedBytes(MemoryLedger& ledger, std::string role, std::string name, int64_t bytes)
      : ledger_(ledger), role_(std::move(role)), name_(std::move(name)), bytes_(bytes) {
    ledger_.change(role_, name_, bytes_);
  }
  ~CountedBytes() { ledger_.change(role_, name_, -bytes_); }
  CountedBytes(const CountedBytes&) = delete;
  CountedBytes& operator=(const CountedBytes&) = delete;

 private:
  MemoryLedger& ledger_;
  std::string role_, name_;
  int64_t bytes_;
};

// Zero-filled numbers, aligned to 64 bytes (large ones to huge pages). Movable, not copyable. The ledger outlives it.
// With a planned ledger data() may only be reckoned with, never read or written.
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
  size_t bytes() const { return sizeof(Number) * static_cast<size_t>(size_); }

  MemoryLedger* ledger_ = nullptr;
  std::string role_, name_;
  Number* data_ = nullptr;
  int64_t size_ = 0;
};
using Buffer = NumberBuffer<float>;
using Bf16Buffer = NumberBuffer<uint16_t>;  // bfloat16 numbers, as their bits
using ByteBuffer = NumberBuffer<uint8_t>;
using DoubleBuffer = NumberBuffer<double>;

}  // namespace candor::engine
