#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace candor {
namespace {

TEST(ThreadPool, EveryTaskRunsOnceOnAKnownThread) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t count : {0, 1, 2, 3, 100, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      std::atomic<bool> known{true};
      pool.run(count, [&](int64_t i, int thread) {
        ++calls[static_cast<size_t>(i)];
        if (thread < 0 || thread >= threads) known = false;
      });
      for (const auto& c : calls) ASSERT_EQ(c, 1) << count << " tasks on " << threads;
      EXPECT_TRUE(known);
    }
  }
}

TEST(ThreadPool, ManyShortRounds) {
  ThreadPool pool(3);
  int64_t sum = 0;
  for (int round = 0; round < 20000; ++round) {
    int64_t parts[4] = {};
    pool.run(4, [&](int64_t i, int) { parts[i] = round + i; });
    for (int64_t part : parts) sum += part;
  }
  EXPECT_EQ(sum, 4LL * 20000 * 19999 / 2 + 6 * 20000);
}

}  // namespace
}  // namespace candor
