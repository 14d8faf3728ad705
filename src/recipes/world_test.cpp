// A world of 1, 2 or 4 ranks gives the same bytes: each rank is a thread with a model, an adapter, an optimizer and a
// pass of its own, computes the gradients of its shards only, and all take the same steps.
#include <gtest/gtest.h>

#include <barrier>
#include <numeric>
#include <thread>

#include "engine/gradient_shards.h"
#include "engine/testing.h"
#include "recipes/dpo.h"
#include "recipes/grpo_update.h"
#include "recipes/sft_pass.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using candor::testing::value_of;
using engine::testing::Bench;
using Weights = std::vector<float>;

constexpr int64_t kShards = 4, kSteps = 3;

// What real ranks would do over a network.
class Ranks {
 public:
  // in_order: the broken twin, which adds one rank after the other instead of (0+1)+(2+3).
  Ranks(int64_t ranks, bool in_order) : ranks_(ranks), in_order_(in_order), barrier_(ranks), sums_(ranks) {}

  engine::World of(int64_t rank) {
    if (ranks_ == 1) return {};
    return {rank, ranks_, [this, rank](engine::Buffer& sum) {
              sums_[rank].assign(sum.data(), sum.data() + sum.size());
              barrier_.arrive_and_wait();
              const Weights all = total(0, ranks_);
              std::copy(all.begin(), all.end(), sum.data());
              barrier_.arrive_and_wait();  // before the next step's sums
            }};
  }

 private:
  Weights total(int64_t begin, int64_t end) const {
    if (end - begin == 1) return sums_[begin];
    const int64_t middle = in_order_ ? end - 1 : (begin + end) / 2;
    Weights left = total(begin, middle);
    const Weights right = total(middle, end);
    for (size_t i = 0; i < left.size(); ++i) left[i] += right[i];
    return left;
  }

  int64_t ranks_;
  bool in_order_;
  std::barrier<> barrier_;
  std::vector<Weights> sums_;
};

// One rank at work.
struct Rank {
  Bench bench{1};
  engine::Model model = bench.random_model();
  Trained trained{&model, nullptr, std::make_unique<engine::Adapter>(bench.random_adapter(model)), nullptr};
  engine::Adapter& adapter = *trained.adapter;
  engine::Trainable trainable = trained.trainable();
  engine::AdamwState optimizer = engine::make_adamw(*bench.context, trainable);
  engine::PolicyPass pass{*bench.context, "policy", model, adapter.max_padded_rank,
                          engine::PolicyPass::Keep::kAllLayers};
  engine::PolicyPass base{*bench.context, "reference", model, 0, engine::PolicyPass::Keep::kOneLayer};
  engine::GradientShards shards;

  explicit Rank(engine::World world) : shards(bench.ledger, kShards, trainable, std::move(world)) {}

  void update() {
    const double norm = engine::gradient_norm(*bench.context, trainable, shards.total().data());
    engine::adamw_step(*bench.context, {}, 0.01, norm, shards.total().data(), optimizer, trainable);
  }
};

// Two completions of each of 8 prompts, with rewards, as if this rank's policy had sampled them.
Generation generation_of(Rank& rank, const GrpoConfig& config, uint32_t step) {
  Generation generation;
  Rollouts& r = generation.rollouts;
  r.groups = config.groups_per_step();
  r.group_size = config.num_generations;
  r.offsets = {0};
  for (int64_t g = 0; g < r.groups; ++g) {
    const auto number = 100 * step + static_cast<uint32_t>(g);
    r.prompts.push_back(engine::testing::random_ids(3 + g % 4, 1100, number));
    for (int64_t i = 0; i < r.group_size; ++i) {
      r.completions.emplace_back();
      r.completions.back().ids =
          engine::testing::random_ids(2 + (g + 3 * i) % 5, 1100, 7000 + 10 * number + static_cast<uint32_t>(i));
      r.lengths.push_back(static_cast<int64_t>(r.completions.back().ids.size()));
      r.finished.push_back(1);
      r.offsets.push_back(r.offsets.back() + r.lengths.back());
      generation.parts.push_back(static_cast<double>((3 * g + 2 * i + step) % 5));
    }
  }
  std::vector<int64_t> all;
  for (int64_t g = 0; g < r.groups; ++g) all.push_back(g);
  const auto& out = rank.pass.forward(&rank.adapter, groups_of(r, all), config.policy_temperature());
  r.logprobs.assign(out.logprobs.begin(), out.logprobs.end());
  r.entropies.assign(out.entropy.begin(), out.entropy.end());
  return generation;
}

GrpoConfig config_of(GroupRecipe recipe) {
  GrpoConfig config(recipe);
  config.num_generations = 2;
  config.per_device_train_batch_size = config.compares_pairs() ? 8 : 16;
  config.gradient_shards = kShards;
  config.max_completion_length = 8;
  config.beta = 0.1;
  config.reward_funcs = {"given"};
  config.micro_batch_tokens = 24;
  return config;
}

void train_on_rollouts(Rank& rank, GroupRecipe recipe) {
  const GrpoConfig config = config_of(recipe);
  for (uint32_t step = 0; step < kSteps; ++step) {
    Generation generation = generation_of(rank, config, step);
    EXPECT_TRUE(derive(generation, config, rank.base));
    const StepNumbers numbers =
        accumulate_gradients(*rank.bench.context, config, generation, 0, rank.trainable, rank.pass, rank.shards);
    EXPECT_EQ(numbers.max_gap, 0);
    rank.update();
  }
}

// 8 rows a step, each of one sequence, of which the last tokens count.
void train_on_rows(Rank& rank) {
  constexpr int64_t kRows = 8;
  const auto ranges = engine::shard_ranges(kRows, kShards);
  for (uint32_t step = 0; step < kSteps; ++step) {
    std::vector<data::TrainingRow> rows(kRows);
    std::vector<const data::TrainingRow*> pointers;
    for (int64_t i = 0; i < kRows; ++i) {
      data::Sequence sequence;
      sequence.ids = engine::testing::random_ids(5 + (i + step) % 6, 1100, 50 * step + static_cast<uint32_t>(i));
      sequence.mask.assign(sequence.ids.size(), 1);
      sequence.mask[0] = sequence.mask[1] = 0;
      rows[i].sequences.push_back(std::move(sequence));
    }
    for (const data::TrainingRow& row : rows) pointers.push_back(&row);
    const std::vector<SftDocument> documents = sft_documents(pointers);
    rank.shards.reduce(*rank.bench.context, [&](int64_t shard, float* gradients) {
      const std::span<const SftDocument> mine(documents.begin() + ranges[shard].begin,
                                              documents.begin() + ranges[shard].end);
      for (const auto batch : sft_micro_batches(mine, 16)) {
        const algorithms::SftLoss loss =
            sft_forward(rank.pass, &rank.adapter, batch, 40, algorithms::SftLossType::kNll);
        rank.pass.backward(rank.trainable, std::vector<float>(loss.d_logprobs.begin(), loss.d_logprobs.end()),
                           std::vector<float>(loss.d_logprobs.size(), 0.0f), gradients);
      }
    });
    rank.update();
  }
}

// 8 pairs a step, each of one prompt with two completions; the reference is the model alone.
void train_on_given_pairs(Rank& rank) {
  constexpr int64_t kPairs = 8;
  DpoConfig config;
  config.gradient_shards = kShards;
  config.micro_batch_tokens = 24;
  data::PairSet set;
  for (uint32_t i = 0; i < kPairs * kSteps; ++i) {
    data::PreferencePair pair;
    const std::vector<int32_t> prompt = engine::testing::random_ids(2 + i % 3, 1100, 400 + i);
    for (data::Answer* answer : {&pair.chosen, &pair.rejected}) {
      const uint32_t number = 500 + 2 * i + (answer == &pair.chosen ? 0 : 1);
      answer->ids = prompt;
      answer->prompt_tokens = static_cast<int64_t>(prompt.size());
      for (const int32_t id : engine::testing::random_ids(1 + number % 4, 1100, number)) answer->ids.push_back(id);
    }
    set.rows.push_back(std::move(pair));
  }
  const PairParts parts{.run = {*rank.bench.context, rank.model}, .rows = set};
  TrainingState state;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<int64_t> numbers(kPairs);
    std::iota(numbers.begin(), numbers.end(), kPairs * step);
    EXPECT_TRUE(train_on_pairs(config, parts, pair_loss(config), numbers,
                               {rank.trained, rank.trainable, rank.pass, rank.shards, state}, rank.base));
    rank.update();
  }
}

// The weights that every rank ends with; EXPECTs that they all end with the same.
Weights weights_after(int64_t ranks, const std::function<void(Rank&)>& train, bool in_order = false) {
  Ranks world(ranks, in_order);
  std::vector<Weights> ends(ranks);
  std::vector<std::thread> threads;
  for (int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      Rank rank(world.of(r));
      train(rank);
      const engine::Buffer& parameters = rank.adapter.parameters;
      ends[r].assign(parameters.data(), parameters.data() + parameters.size());
    });
  for (std::thread& thread : threads) thread.join();
  for (int64_t r = 1; r < ranks; ++r) EXPECT_EQ(ends[r], ends[0]);
  return ends[0];
}

TEST(World, OneTwoAndFourRanksGiveTheSameBytes) {
  std::vector<std::pair<std::string, std::function<void(Rank&)>>> recipes = {{"sft", train_on_rows},
                                                                             {"dpo", train_on_given_pairs}};
  for (const GroupRecipe recipe :
       {GroupRecipe::kGrpo, GroupRecipe::kRloo, GroupRecipe::kOnlineDpo, GroupRecipe::kXpo, GroupRecipe::kNashMd})
    recipes.emplace_back(GrpoConfig(recipe).name(), [recipe](Rank& rank) { train_on_rollouts(rank, recipe); });
  for (const auto& [name, train] : recipes) {
    SCOPED_TRACE(name);
    const Weights alone = weights_after(1, train);
    const Rank untrained{engine::World{}};
    EXPECT_NE(alone, Weights(untrained.adapter.parameters.data(),
                             untrained.adapter.parameters.data() + untrained.adapter.parameters.size()));
    for (const int64_t ranks : {2, 4}) EXPECT_EQ(weights_after(ranks, train), alone) << ranks;
    EXPECT_NE(weights_after(4, train, true), alone) << "the sums added in another order";
  }
}

}  // namespace
}  // namespace candor::recipes
