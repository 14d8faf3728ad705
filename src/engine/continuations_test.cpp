// Prompts that share their beginnings: the numbers of each continuation are, bit for bit, those of the whole sequence
// by itself, and what is shared passes through the model once.
#include "engine/continuations.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/score.h"
#include "engine/testing.h"

namespace candor::engine {
namespace {

using testing::Bench;
using testing::random_ids;

std::vector<int32_t> joined(std::initializer_list<std::vector<int32_t>> parts) {
  std::vector<int32_t> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// A system prompt over all, questions of `lengths` tokens, each with two tails. Branches stand at all places in a page
// of 16, several of them in one page. Continuations of one token, and longer ones that share theirs.
std::vector<ContinuationRequest> questions(const std::vector<int64_t>& lengths) {
  const std::vector<int32_t> system = random_ids(19, 1100, 1);
  const auto continuations = std::make_shared<const Continuations>(
      Continuations{{7, 9, 11}, {12}, {7}, random_ids(20, 1100, 5), {7, 9}, {7, 10, 3}});
  std::vector<ContinuationRequest> requests;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto question = random_ids(lengths[i], 1100, 10 + static_cast<uint32_t>(i));
    for (uint32_t tail = 0; tail < 2; ++tail)
      requests.push_back({joined({system, question, random_ids(5, 1100, 2 + tail)}), continuations});
  }
  return requests;
}
const std::vector<int64_t> kLengths = {3, 1, 8, 12, 13, 14, 29, 2, 45, 16};

std::vector<std::vector<double>> asked(const Bench& bench, const Model& model, const Adapter* adapter,
                                       const std::vector<ContinuationRequest>& requests,
                                       std::span<const HiddenDoor> doors = {}, int64_t* tokens = nullptr) {
  std::vector<std::vector<double>> all;
  continuation_logprobs(*bench.context, model, adapter, doors, requests, [&](size_t i, ContinuationScore score) {
    EXPECT_EQ(i, all.size());
    all.push_back(std::move(score.logprobs));
    if (tokens != nullptr) *tokens += score.tokens;
    return true;
  });
  return all;
}

// The same from whole sequences, none of which shares anything.
std::vector<std::vector<double>> one_by_one(const Bench& bench, const Model& model, const Adapter* adapter,
                                            const std::vector<ContinuationRequest>& requests) {
  std::vector<std::vector<int32_t>> sequences;
  for (const ContinuationRequest& request : requests)
    for (const auto& continuation : *request.continuations) sequences.push_back(joined({request.prompt, continuation}));
  std::vector<double> sums;
  score_sequences(*bench.context, model, adapter, sequences, [&](size_t i, const SequenceScore& score) {
    const ContinuationRequest& request = requests[i / requests[0].continuations->size()];
    sums.push_back(0);
    for (size_t t = request.prompt.size(); t < score.logprobs.size(); ++t)
      sums.back() += static_cast<double>(score.logprobs[t]);
    return true;
  });
  std::vector<std::vector<double>> all;
  auto next = sums.begin();
  for (const ContinuationRequest& request : requests) {
    const auto end = next + static_cast<std::ptrdiff_t>(request.continuations->size());
    all.emplace_back(next, end);
    next = end;
  }
  return all;
}

TEST(Continuations, HaveTheBitsOfWholeSequences) {
  const auto requests = questions(kLengths);
  for (const std::string& level : testing::level_names())
    for (const char* dtype : {"float32", "bfloat16", "int8"}) {
      Bench bench(2, level, testing::dtype_of(dtype));
      const Model model = bench.random_model();
      EXPECT_EQ(asked(bench, model, nullptr, requests), one_by_one(bench, model, nullptr, requests)) << level << dtype;
    }
}

TEST(Continuations, UnderAnAdapterInAnotherShapeOfModel) {
  for (const auto& config : {testing::tiny_config(), testing::tiny_gpt2_config()}) {
    Bench bench;
    const Model model = bench.random_model(3, config);
    const Adapter adapter = bench.random_adapter(model);
    const auto requests = questions({3, 14, 2});
    const auto under = asked(bench, model, &adapter, requests);
    EXPECT_EQ(under, one_by_one(bench, model, &adapter, requests));
    EXPECT_NE(under, asked(bench, model, nullptr, requests));
  }
}

TEST(Continuations, DoNotDependOnThreadsOrOnWhatSharesThePass) {
  Bench one(1), four(4);
  const Model model = one.random_model(), same = four.random_model();
  auto requests = questions(kLengths);
  const auto all = asked(one, model, nullptr, requests);
  EXPECT_EQ(asked(four, same, nullptr, requests), all);
  std::reverse(requests.begin(), requests.end());
  auto turned = asked(one, model, nullptr, requests);
  std::reverse(turned.begin(), turned.end());
  EXPECT_EQ(turned, all);
}

TEST(Continuations, ComputeWhatIsSharedOnce) {
  Bench bench;
  const Model model = bench.random_model();
  const auto requests = questions({3, 12, 14});
  std::set<std::vector<int32_t>> prefixes;  // every token that is an input, with all before it
  for (const ContinuationRequest& request : requests)
    for (const auto& continuation : *request.continuations) {
      const auto whole = joined({request.prompt, continuation});
      for (size_t end = 1; end < whole.size(); ++end) prefixes.insert({whole.begin(), whole.begin() + end});
    }
  int64_t tokens = 0;
  asked(bench, model, nullptr, requests, {}, &tokens);
  EXPECT_EQ(tokens, static_cast<int64_t>(prefixes.size()));
}

TEST(Continuations, MoreThanOneBatch) {
  Bench bench;
  const Model model = bench.random_model();
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 60; ++i) lengths.push_back(1 + i * 7 % 31);
  const auto requests = questions(lengths);
  const auto all = asked(bench, model, nullptr, requests);
  EXPECT_EQ(all, one_by_one(bench, model, nullptr, requests));
  size_t seen = 0;
  continuation_logprobs(*bench.context, model, nullptr, {}, requests, [&](size_t i, const ContinuationScore& score) {
    EXPECT_EQ(score.logprobs, all[i]);
    return ++seen < 5;
  });
  EXPECT_EQ(seen, 5u);
}

TEST(Continuations, GoThroughDoors) {
  Bench bench;
  const Model model = bench.random_model();
  const auto requests = questions({3, 14});
  std::vector<float> v(40);
  for (size_t i = 0; i < v.size(); ++i) v[i] = 0.01f * static_cast<float>(i % 7);
  const std::vector<HiddenDoor> doors = {add_to_hidden(1, v)};
  const auto behind = asked(bench, model, nullptr, requests, doors);
  EXPECT_NE(behind, asked(bench, model, nullptr, requests));
  PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kOneLayer);
  pass.set_doors(doors);
  for (size_t i = 0; i < requests.size(); ++i)
    for (size_t c = 0; c < requests[i].continuations->size(); ++c) {
      const RolloutGroup group{requests[i].prompt, {(*requests[i].continuations)[c]}};
      double sum = 0;
      for (const float logprob : pass.forward(nullptr, {&group, 1}, 1.0).logprobs) sum += static_cast<double>(logprob);
      EXPECT_EQ(behind[i][c], sum);
    }
}

TEST(Continuations, TakeWhatThePlanSays) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    Bench bench(2, "", testing::dtype_of(dtype));
    const Model model = bench.random_model();
    const Adapter adapter = bench.random_adapter(model);
    std::vector<int64_t> lengths(70, 25);
    const auto requests = questions(lengths);
    const int64_t before = bench.ledger.bytes();
    asked(bench, model, &adapter, requests);
    MemoryLedger planned(MemoryLedger::Kind::kPlanned);
    plan_continuations({bench.context->kernels, bench.pool, planned}, model, &adapter, requests);
    EXPECT_EQ(planned.peak_bytes(), bench.ledger.peak_bytes() - before) << dtype;
  }
}

}  // namespace
}  // namespace candor::engine
