#include "engine/roof.h"

#include <gtest/gtest.h>

#include "engine/kernels/test_numbers.h"

namespace candor::engine {
namespace {

TEST(Roof, IsPlausible) {
  ThreadPool pool(1);
  const Roof roof = measure_roof(pool, *levels().back());
  // Any processor of this century does 0.5 GFLOP/s; none does 2,000 on one core.
  EXPECT_GT(roof.float32_gflops, 0.5);
  EXPECT_LT(roof.float32_gflops, 2000);
  EXPECT_GT(roof.bf16_gflops, 0.5);
  EXPECT_LT(roof.bf16_gflops, 4000);
  EXPECT_GT(roof.int8_gops, 0.5);
  EXPECT_LT(roof.int8_gops, 8000);
  EXPECT_GT(roof.dram_read_gbs, 0.1);
  EXPECT_LT(roof.dram_read_gbs, 1000);
}

}  // namespace
}  // namespace candor::engine
