#include "base/thread_pool.h"

#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

#include "base/check.h"

namespace candor {

namespace {

// How long a worker spins for the next round before it sleeps: longer than the serial code between two kernels, shorter
// than anyone notices. The caller, while it waits for workers that are still inside, gives its core away now and then:
// on a busy machine they may need it.
constexpr int kSpins = 20000, kSpinsBeforeYield = 2000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Round to nearest, no flush to zero, all exceptions masked: the arithmetic that every bit here depends on.
void set_float_mode() {
#if defined(__x86_64__)
  _mm_setcsr(0x1F80);
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CHECK(threads >= 1);
  set_float_mode();
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t count, const std::function<void(int64_t, int)>& task) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t i = 0; i < count; ++i) task(i, 0);
    return;
  }
  count_ = count;
  task_ = &task;
  next_.store(0, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    gate_.store((gate_.load(std::memory_order_relaxed) / kRound + 1) * kRound + kOpen, std::memory_order_release);
    if (sleepers_ > 0) wake_.notify_all();
  }
  drain(0);
  gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spin = 1; (gate_.load(std::memory_order_acquire) & kInside) != 0; ++spin) {
    pause();
    if (spin % kSpinsBeforeYield == 0) std::this_thread::yield();
  }
}

void ThreadPool::drain(int thread) {
  for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) (*task_)(i, thread);
}

void ThreadPool::work(int thread) {
  set_float_mode();
  uint64_t seen = 0;  // the last round this worker was in
  auto open = [&](uint64_t gate) { return (gate & kOpen) != 0 && gate / kRound != seen; };
  while (!stop_) {
    uint64_t gate = gate_.load(std::memory_order_acquire);
    for (int spin = 0; spin < kSpins && !open(gate) && !stop_; ++spin) {
      pause();
      gate = gate_.load(std::memory_order_acquire);
    }
    if (!open(gate)) {
      std::unique_lock lock(mutex_);
      ++sleepers_;
      wake_.wait(lock, [&] { return stop_ || open(gate_.load(std::memory_order_acquire)); });
      --sleepers_;
      continue;
    }
    if (!gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) continue;
    seen = gate / kRound;
    drain(thread);
    gate_.fetch_sub(1, std::memory_order_release);
  }
}

int available_cores() {
  cpu_set_t set;
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (quota_file >> quota >> period && quota != "max" && period > 0)
    cores = std::min(cores, static_cast<int>(std::ceil(std::stod(quota) / period)));
  return std::max(cores, 1);
}

}  // namespace candor
