// WPO in the DPO recipe: the weights of a pair against whole rows of logits in double.
#include <gtest/gtest.h>

#include "engine/testing.h"
#include "recipes/dpo.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using candor::testing::RowsForward;
using candor::testing::value_of;
using engine::testing::Bench;
using engine::testing::random_ids;

data::PairSet pairs() {
  data::PairSet set;
  set.name = "pairs";
  for (uint32_t i = 0; i < 3; ++i) {
    data::PreferencePair pair;
    for (data::Answer* answer : {&pair.chosen, &pair.rejected}) {
      answer->ids = random_ids(6, 1100, 9 * i);
      answer->prompt_tokens = 6;
      const auto completion = random_ids(3 + i, 1100, 9 * i + (answer == &pair.chosen ? 1 : 2));
      answer->ids.insert(answer->ids.end(), completion.begin(), completion.end());
    }
    set.rows.push_back(pair);
  }
  return set;
}

// exp(mean over the completion of ln p - ln Σ p²).
double weight(Bench& bench, const engine::Model& model, const data::Answer& answer) {
  RowsForward forward(*bench.context, model, nullptr, {answer.ids}, engine::Activations::Keep::kOneLayer);
  const int64_t first = answer.prompt_tokens - 1, end = static_cast<int64_t>(answer.ids.size()) - 1;
  const std::vector<float> logits = forward.logits(first, end);
  double mean = 0;
  for (int64_t t = first; t < end; ++t) {
    const float* row = logits.data() + (t - first) * 1100;
    double sum = 0, squares = 0;
    for (int64_t v = 0; v < 1100; ++v) sum += std::exp(static_cast<double>(row[v]));
    for (int64_t v = 0; v < 1100; ++v) squares += std::pow(std::exp(static_cast<double>(row[v])) / sum, 2);
    mean += static_cast<double>(row[answer.ids[static_cast<size_t>(t + 1)]]) - std::log(sum) - std::log(squares);
  }
  return std::exp(mean / static_cast<double>(end - first));
}

// With the policy as its own reference a sigmoid pair has the loss ln 2.
TEST(Wpo, APairWeighsWhatThePolicyWouldMakeOfIt) {
  Bench bench;
  const engine::Model model = bench.random_model();
  const data::PairSet set = pairs();
  DpoConfig config;
  config.per_device_train_batch_size = 2;
  const auto loss_of = [&] {
    const auto evaluation = value_of(evaluate_pairs(config, *bench.context, model, nullptr, set, pair_loss(config),
                                                    nullptr, [](size_t, size_t) { return true; }));
    return evaluation->loss();
  };
  EXPECT_NEAR(loss_of(), std::log(2), 1e-6);
  config.use_weighting = true;
  double expected = 0;
  for (const data::PreferencePair& pair : set.rows)
    expected += std::log(2) * weight(bench, model, pair.chosen) * weight(bench, model, pair.rejected) / 3;
  ASSERT_GT(std::abs(expected - std::log(2)), 1e-3);
  EXPECT_NEAR(loss_of() / expected, 1, 2e-5);  // exp of sums of float32 log-probabilities down to -20
}

TEST(Wpo, LossesWithoutIt) {
  DpoConfig config;
  config.use_weighting = true;
  config.use_peft = true;
  config.loss_type = {"aot"};
  EXPECT_FALSE(resolve_dpo(config, {}));
}

}  // namespace
}  // namespace candor::recipes
