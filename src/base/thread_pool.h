// One pool for the whole program. Threads split *outputs*, never sums, so a result does not depend on their number.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace candor {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // threads >= 1, the caller's own included
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(i) once for every i in [0, count), on any thread in any order, and returns when all are done. Tasks must
  // not throw and must not call run() themselves. `thread` in [0, threads()) tells a task which scratch space is its
  // own.
  void run(int64_t count, const std::function<void(int64_t i, int thread)>& task);

 private:
  void work(int thread);
  void drain(int thread);

  // gate_ = round · 2^17 + open · 2^16 + workers inside. A worker may enter an open round; the caller closes the round
  // once no task is left and waits for those inside only, so a worker that the machine has not woken yet holds nobody
  // up.
  static constexpr uint64_t kOpen = uint64_t{1} << 16, kRound = uint64_t{1} << 17, kInside = kOpen - 1;

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  int sleepers_ = 0;  // guarded by mutex_
  std::atomic<uint64_t> gate_{0};
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stop_{false};
  int64_t count_ = 0;  // written only while nobody is inside
  const std::function<void(int64_t, int)>* task_ = nullptr;
};

// Cores that this process may use (affinity and the cgroup's quota), at least 1.
int available_cores();

}  // namespace candor
