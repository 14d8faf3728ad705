#include "base/memory_limit.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "support/scratch.h"

namespace candor {
namespace {

using testing::ScratchFolder;

constexpr int64_t kMiB = 1 << 20;

// A machine with 1 GiB available, on which this process holds 100 MiB.
void write_proc(const ScratchFolder& root, const std::string& cgroup) {
  root.write("proc/meminfo", "MemTotal:  4194304 kB\nMemFree: 1 kB\nMemAvailable:    1048576 kB\n");
  root.write("proc/self/status", "VmHWM:\t  204800 kB\nRssAnon:\t  102400 kB\nRssFile:\t 10 kB\n");
  root.write("proc/self/cgroup", cgroup);
}

TEST(MemoryLimit, AmountsOfMemory) {
  EXPECT_EQ(*parse_bytes("8GB"), 8'000'000'000);
  EXPECT_EQ(*parse_bytes("8GiB"), int64_t{8} << 30);
  EXPECT_EQ(*parse_bytes("800 mb"), 800'000'000);
  EXPECT_EQ(*parse_bytes("1.5g"), 1'500'000'000);
  EXPECT_EQ(*parse_bytes("65536"), 65536);
  EXPECT_EQ(*parse_bytes("1TiB"), int64_t{1} << 40);
  for (const char* wrong : {"", "GB", "-1GB", "0", "0.1", "1e3", "1..5GB", "8 GBs", "8PB", "99999999TB", "nan", "8GB "})
    EXPECT_FALSE(parse_bytes(wrong)) << wrong;
  EXPECT_EQ(parse_bytes("8 gigs").error().message,
            "\"8 gigs\" is no amount of memory. Write it as 8GB, 8GiB, 800MB or a number of bytes.");
}

TEST(MemoryLimit, TheMachineAlone) {
  const ScratchFolder root;
  write_proc(root, "0::/\n");
  const MemoryLimit limit = memory_limit(root.path());
  EXPECT_EQ(limit.bytes, 1124 * kMiB);  // what is available and what is ours already
  EXPECT_EQ(limit.source, "the memory that this machine has available");
}

TEST(MemoryLimit, NothingIsKnown) {
  const ScratchFolder root;
  const MemoryLimit limit = memory_limit(root.path());
  EXPECT_EQ(limit.bytes, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(limit.source, "unknown");
}

TEST(MemoryLimit, VersionTwoAskedUpTheTree) {
  const ScratchFolder root;
  write_proc(root, "0::/user.slice/job\n");
  root.write("sys/fs/cgroup/user.slice/job/memory.max", "max\n");
  root.write("sys/fs/cgroup/user.slice/memory.max", fmt::format("{}\n", 600 * kMiB));
  root.write("sys/fs/cgroup/user.slice/memory.current", fmt::format("{}\n", 450 * kMiB));
  root.write("sys/fs/cgroup/user.slice/memory.stat", fmt::format("anon 1\ninactive_file {}\n", 50 * kMiB));
  // 450 used, of which 50 can be given up and 100 are ours: 300 are others'.
  const MemoryLimit limit = memory_limit(root.path());
  EXPECT_EQ(limit.bytes, 300 * kMiB);
  EXPECT_EQ(limit.source, "the memory limit of this process's control group");
}

TEST(MemoryLimit, VersionTwoInAContainer) {
  const ScratchFolder root;
  write_proc(root, "0::/\n");  // its own group is the root that it sees
  root.write("sys/fs/cgroup/memory.max", fmt::format("{}\n", 256 * kMiB));
  root.write("sys/fs/cgroup/memory.current", fmt::format("{}\n", 110 * kMiB));
  root.write("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 0\n");
  EXPECT_EQ(memory_limit(root.path()).bytes, 246 * kMiB);  // 10 are others'
}

TEST(MemoryLimit, VersionOneAskedUpTheTree) {
  const ScratchFolder root;
  write_proc(root, "4:memory:/jobs/17\n");
  const std::string memory = "sys/fs/cgroup/memory/";
  root.write(memory + "jobs/17/memory.limit_in_bytes", fmt::format("{}\n", 900 * kMiB));
  root.write(memory + "jobs/17/memory.usage_in_bytes", fmt::format("{}\n", 100 * kMiB));
  root.write(memory + "jobs/memory.limit_in_bytes", fmt::format("{}\n", 700 * kMiB));
  root.write(memory + "jobs/memory.usage_in_bytes", fmt::format("{}\n", 500 * kMiB));
  root.write(memory + "jobs/memory.stat", fmt::format("inactive_file 1\ntotal_inactive_file {}\n", 200 * kMiB));
  // 500 used below jobs, of which 200 can be given up and 100 are ours: 200 are others'.
  EXPECT_EQ(memory_limit(root.path()).bytes, 500 * kMiB);
}

TEST(MemoryLimit, FilesThatSayNothing) {
  const ScratchFolder root;
  write_proc(root, "0::/job\nnonsense\n4:memory:\n");
  root.write("sys/fs/cgroup/job/memory.max", "");
  root.write("sys/fs/cgroup/memory.max", "-5\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "99999999999999999999999\n");
  EXPECT_EQ(memory_limit(root.path()).bytes, 1124 * kMiB);
}

TEST(MemoryLimit, VersionOneInAContainer) {
  const ScratchFolder root;
  write_proc(root, "9:name=systemd:/\n4:memory,hugetlb:/docker/1f0a\n3:cpuset:/\n0::/\n");
  // Inside a container the group's own folder is the mount itself.
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", fmt::format("{}\n", 512 * kMiB));
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", fmt::format("{}\n", 90 * kMiB));
  EXPECT_EQ(memory_limit(root.path()).bytes, 512 * kMiB);
}

TEST(MemoryLimit, NoLimitIsAVeryLargeOne) {
  const ScratchFolder root;
  write_proc(root, "4:memory:/\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(memory_limit(root.path()).bytes, 1124 * kMiB);
}

TEST(MemoryLimit, AGroupThatIsFull) {
  const ScratchFolder root;
  write_proc(root, "0::/job\n");
  root.write("sys/fs/cgroup/job/memory.max", fmt::format("{}\n", 200 * kMiB));
  root.write("sys/fs/cgroup/job/memory.current", fmt::format("{}\n", 400 * kMiB));
  EXPECT_LT(memory_limit(root.path()).bytes, 0);
}

TEST(MemoryLimit, ThisProcess) {
  const int64_t before = anonymous_bytes();
  if (before == 0) GTEST_SKIP() << "the system does not say";
  std::string block(64 << 20, 'x');
  EXPECT_NEAR(static_cast<double>(anonymous_bytes() - before), 64.0 * kMiB, 2.0 * kMiB);  // counted in batches
  block.clear();
  block.shrink_to_fit();
  EXPECT_GE(peak_anonymous_bytes(), before + 60 * kMiB);
}

}  // namespace
}  // namespace candor
