// What is read of a statement is what stands there, whatever shares the pass.
#include "engine/last_hidden.h"

#include <gtest/gtest.h>

#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

std::vector<std::vector<float>> last_of(const Bench& bench, const Model& model, const Adapter* adapter,
                                        const std::vector<std::vector<int32_t>>& sequences,
                                        const std::vector<int64_t>& layers) {
  std::vector<std::vector<float>> all;
  last_hidden_states(*bench.context, model, adapter, sequences, layers, [&](size_t i, std::vector<float> states) {
    EXPECT_EQ(i, all.size());
    all.push_back(std::move(states));
    return all.size() < 100;
  });
  return all;
}

TEST(LastHidden, IsTheLastTokensStateWhateverSharesThePass) {
  Bench bench;
  const Model model = bench.random_model();
  const Adapter adapter = bench.random_adapter(model);
  const std::vector<int64_t> layers = {0, 2, 3};
  std::vector<std::vector<int32_t>> sequences;
  for (uint32_t i = 0; i < 40; ++i) sequences.push_back(random_ids(1 + i * 5 % 37, 1100, i));
  const auto together = last_of(bench, model, &adapter, sequences, layers);
  ASSERT_EQ(together.size(), sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(last_of(bench, model, &adapter, {sequences[i]}, layers)[0], together[i]);
    // The same token behind the same ones, read as one of several in a pass.
    PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, Keep::kOneLayer);
    HiddenStates read;
    pass.set_doors({read_hidden(2, &read)});
    const RolloutGroup group{sequences[i], {sequences[0]}};
    pass.forward(&adapter, {&group, 1}, 1.0);
    const auto state = read.of(pass.batch().tokens() - 1);  // a prompt stands behind its completions
    EXPECT_TRUE(std::equal(state.begin(), state.end(), together[i].begin() + 40));
  }
  EXPECT_NE(last_of(bench, model, nullptr, sequences, layers), together);
}

TEST(LastHidden, StopsWhenAsked) {
  Bench bench;
  const Model model = bench.random_model();
  const std::vector<std::vector<int32_t>> sequences(3, random_ids(4, 1100, 1));
  size_t seen = 0;
  last_hidden_states(*bench.context, model, nullptr, sequences, std::vector<int64_t>{1},
                     [&](size_t, const std::vector<float>& states) {
                       EXPECT_EQ(states.size(), 40u);
                       return ++seen < 2;
                     });
  EXPECT_EQ(seen, 2u);
}

}  // namespace
}  // namespace candor::engine
