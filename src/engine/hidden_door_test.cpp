// The door to hidden states: what is read is Transformers' hidden_states, what is written is what patched weights would
// have made, and a door that does nothing, or stands at other rows, changes no bit.
#include "engine/hidden_door.h"

#include <gtest/gtest.h>

#include "engine/sampler.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::expect_within;
using candor::testing::golden;
using candor::testing::golden_tolerance;
using candor::testing::json_of;
using candor::testing::value_of;
using candor::testing::worst_difference;
using testing::Bench;
using testing::random_ids;

struct Rollout {
  std::vector<int32_t> prompt = random_ids(20, 1100, 1), first = random_ids(9, 1100, 2),
                       second = random_ids(3, 1100, 3);
  RolloutGroup group() const { return {prompt, {first, second}}; }
};

std::vector<float> logprobs(const Bench& bench, const Model& model, const Adapter* adapter,
                            std::vector<HiddenDoor> doors) {
  const Rollout rollout;
  const RolloutGroup group = rollout.group();
  PolicyPass pass(*bench.context, "policy", model, adapter == nullptr ? 0 : adapter->max_padded_rank,
                  PolicyPass::Keep::kOneLayer);
  pass.set_doors(std::move(doors));
  return pass.forward(adapter, {&group, 1}, 1.0).logprobs;
}

std::vector<float> some_vector(int64_t width, double size) {
  std::vector<float> v;
  for (int64_t i = 0; i < width; ++i)
    v.push_back(static_cast<float>(size * (2 * random_uniform({5, RngStream::kData, 1, 0}, i) - 1)));
  return v;
}

TEST(HiddenDoor, ReadsTransformersHiddenStates) {
  for (const char* name : {"models/llama", "models/gpt2"}) {
    CANDOR_REQUIRE_FILE(golden(name));
    const auto tensors = value_of(files::SafetensorsFile::open(golden(std::string(name) + "/golden.safetensors")));
    const auto recorded = json_of(golden(std::string(name) + "/golden.json"));
    const auto batch = candor::testing::read_golden_batch(tensors);
    Bench bench;
    const Model model = bench.load(value_of(files::open_model(golden(name))));
    PolicyPass pass(*bench.context, "policy", model, 0, PolicyPass::Keep::kOneLayer);
    std::vector<HiddenStates> read(static_cast<size_t>(model.config.layers));
    std::vector<HiddenDoor> doors;
    for (int64_t l = 0; l < model.config.layers; ++l) doors.push_back(read_hidden(l, &read[l]));
    pass.set_doors(doors);
    std::vector<RolloutGroup> groups;
    for (const auto& row : batch.rows) {
      const std::span<const int32_t> ids = row;
      groups.push_back({ids.first(1), {ids.subspan(1)}});
    }
    pass.forward(nullptr, groups, 1.0);
    for (int64_t l = 0; l < model.config.layers; ++l) {
      const auto width = static_cast<size_t>(model.config.hidden_size);
      const auto all = batch.ragged(value_of(tensors.floats(fmt::format("hidden.{}", l))), width);
      std::vector<float> ours, theirs;
      size_t entry = 0, token = 0;
      for (const auto& row : batch.rows) {
        for (size_t t = 0; t + 1 < row.size(); ++t, ++entry) {
          const auto h = read[static_cast<size_t>(l)].of(pass.entries()[entry].hidden_row);
          ours.insert(ours.end(), h.begin(), h.end());
          const auto begin = all.begin() + static_cast<std::ptrdiff_t>((token + t) * width);
          theirs.insert(theirs.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
        }
        token += row.size();
      }
      expect_within(fmt::format("{} {}", name, l), worst_difference(ours, theirs),
                    golden_tolerance(recorded.at("float32_vs_float64").at("hidden")));
    }
  }
}

TEST(HiddenDoor, ReadingOrAddingNothingChangesNoBit) {
  for (const char* dtype : {"float32", "bfloat16", "int8"}) {
    Bench bench(2, "", testing::dtype_of(dtype));
    const Model model = bench.random_model();
    const Adapter adapter = bench.random_adapter(model);
    const auto plain = logprobs(bench, model, &adapter, {});
    HiddenStates read;
    for (int64_t l = 0; l <= model.config.layers; ++l) {
      EXPECT_EQ(logprobs(bench, model, &adapter, {read_hidden(l, &read)}), plain) << dtype << l;
      EXPECT_EQ(logprobs(bench, model, &adapter, {add_to_hidden(l, std::vector<float>(40, 0.0f))}), plain) << dtype;
      EXPECT_NE(logprobs(bench, model, &adapter, {add_to_hidden(l, some_vector(40, 0.5))}), plain) << dtype << l;
    }
  }
}

// A model whose embedding, or the bias of a layer's last product, has a vector added.
class Patched : public files::WeightReader {
 public:
  Patched(std::unique_ptr<files::WeightReader> inner, std::string name, std::vector<float> v)
      : inner_(std::move(inner)), name_(std::move(name)), v_(std::move(v)) {}
  const std::vector<files::WeightInfo>& weights() const override { return inner_->weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    TRY(inner_->read_rows(name, begin, end, out));
    if (name != name_) return {};
    const auto width = inner_->find(name)->shape.size() == 2 ? static_cast<int64_t>(v_.size()) : 1;
    for (int64_t i = begin * width; i < end * width; ++i)
      out[i - begin * width] += v_[static_cast<size_t>(i % static_cast<int64_t>(v_.size()))];
    return {};
  }

 private:
  std::unique_ptr<files::WeightReader> inner_;
  std::string name_;
  std::vector<float> v_;
};

TEST(HiddenDoor, AddingIsWhatPatchedWeightsDo) {
  files::ModelConfig config = testing::tiny_config();
  config.mlp_bias = true;
  Bench bench;
  const Model model = bench.random_model(1, config);
  const std::vector<float> v = some_vector(config.hidden_size, 0.5);
  const auto patched = [&](const std::string& name) {
    files::ModelFiles files = testing::random_model_files(config, 1);
    files.weights = std::make_unique<Patched>(std::move(files.weights), name, v);
    return bench.load(files);
  };
  EXPECT_EQ(logprobs(bench, model, nullptr, {add_to_hidden(0, v)}),
            logprobs(bench, patched("model.embed_tokens.weight"), nullptr, {}));
  const auto behind_second = logprobs(bench, model, nullptr, {add_to_hidden(2, v)});
  const auto with_bias = logprobs(bench, patched("model.layers.1.mlp.down_proj.bias"), nullptr, {});
  // (residual + product) + v against residual + (product + v): a few units in the last place, grown by one layer.
  EXPECT_LT(worst_difference(behind_second, with_bias), 2e-5);
  // One layer off is another model.
  EXPECT_GT(worst_difference(logprobs(bench, model, nullptr, {add_to_hidden(1, v)}), with_bias), 1e-2);
}

TEST(HiddenDoor, ErasesADirection) {
  Bench bench;
  const Model model = bench.random_model();
  const size_t width = 40;
  std::vector<float> u = some_vector(2 * width, 1), mean = some_vector(width, 0.1);
  // An orthonormal pair.
  const auto dot = [&](size_t a, size_t b) {
    double sum = 0;
    for (size_t i = 0; i < width; ++i)
      sum += static_cast<double>(u[a * width + i]) * static_cast<double>(u[b * width + i]);
    return sum;
  };
  const auto scale = [&](size_t k) {
    const double length = std::sqrt(dot(k, k));
    for (size_t i = 0; i < width; ++i) u[k * width + i] /= static_cast<float>(length);
  };
  scale(0);
  const auto along = static_cast<float>(dot(0, 1));
  for (size_t i = 0; i < width; ++i) u[width + i] -= along * u[i];
  scale(1);
  HiddenStates before, after;
  logprobs(bench, model, nullptr, {read_hidden(2, &before), erase_from_hidden(2, u, u, mean), read_hidden(2, &after)});
  ASSERT_EQ(after.values.size(), 30 * width);  // 20 + 8 + 2 tokens pass
  double largest_before = 0, largest_after = 0;
  for (int64_t row = 0; row < 30; ++row)
    for (size_t k = 0; k < 2; ++k) {
      double was = 0, is = 0;
      for (size_t i = 0; i < width; ++i) {
        const auto direction = static_cast<double>(u[k * width + i]);
        was += direction * static_cast<double>(before.of(row)[i] - mean[i]);
        is += direction * static_cast<double>(after.of(row)[i] - mean[i]);
      }
      largest_before = std::max(largest_before, std::abs(was));
      largest_after = std::max(largest_after, std::abs(is));
    }
  EXPECT_GT(largest_before, 0.5);
  EXPECT_LT(largest_after, 1e-5);  // directions and states are rounded to float32
}

// Behind a door the sampler's log-probabilities are the trainer's, bit for bit; and a request without one, in the same
// batch, has the numbers that it would have alone.
TEST(HiddenDoor, TheSamplerGoesThroughIt) {
  Bench bench;
  const Model model = bench.random_model();
  const Adapter adapter = bench.random_adapter(model);
  const std::vector<HiddenDoor> doors = {add_to_hidden(1, some_vector(40, 0.4)),
                                         add_to_hidden(3, some_vector(40, 0.2))};
  SamplingOptions options;
  options.max_new_tokens = 12;
  const auto draw = [&](std::span<const HiddenDoor> first, std::span<const HiddenDoor> second) {
    const std::vector<SampleRequest> requests = {{random_ids(20, 1100, 1), 2, 0, {}, 0.0, first},
                                                 {random_ids(17, 1100, 4), 2, 0, {}, 0.0, second}};
    return sample(*bench.context, model, &adapter, requests, options, nullptr, {});
  };
  const auto mixed = draw({}, doors), plain = draw({}, {});
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(mixed[0][i].ids, plain[0][i].ids);
    EXPECT_EQ(mixed[0][i].logprobs, plain[0][i].logprobs);
    EXPECT_NE(mixed[1][i].logprobs, plain[1][i].logprobs);
  }
  const auto prompt = random_ids(17, 1100, 4);
  const RolloutGroup group{prompt, {mixed[1][0].ids, mixed[1][1].ids}};
  PolicyPass pass(*bench.context, "policy", model, adapter.max_padded_rank, PolicyPass::Keep::kOneLayer);
  pass.set_doors(doors);
  std::vector<float> sampled = mixed[1][0].logprobs;
  sampled.insert(sampled.end(), mixed[1][1].logprobs.begin(), mixed[1][1].logprobs.end());
  EXPECT_EQ(pass.forward(&adapter, {&group, 1}, 1.0).logprobs, sampled);
  pass.set_doors({});
  EXPECT_NE(pass.forward(&adapter, {&group, 1}, 1.0).logprobs, sampled);
}

}  // namespace
}  // namespace candor::engine
