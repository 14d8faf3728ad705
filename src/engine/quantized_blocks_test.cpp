// Quantized blocks in the engine's layout: every type against gguf-py's numbers, bit for bit.
#include "engine/quantized_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/packed_matrix.h"
#include "engine/testing.h"
#include "files/safetensors.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::json_of;
using candor::testing::value_of;
using ::testing::ElementsAre;

TEST(QuantizedBlocks, DequantizeToTheFilesNumbers) {
  CANDOR_REQUIRE_FILE(golden("gguf/blocks.safetensors"));
  const auto file = value_of(files::SafetensorsFile::open(golden("gguf/blocks.safetensors")));
  const auto types = json_of(golden("gguf/blocks.json")).at("types");
  std::vector<std::string> kept;
  for (const auto& [name, entry] : types.items()) {
    const files::GgufBlockType& type = *files::find_block_type(entry["ggml_type"]);
    const auto format = block_format(type);
    if (!format) continue;
    kept.push_back(name);
    const std::vector<int64_t> wide = value_of(file.integers(name + ".raw"));
    const std::vector<uint8_t> raw(wide.begin(), wide.end());
    const std::vector<float> expected = value_of(file.floats(name + ".values"));
    const auto blocks = entry["blocks"].get<int64_t>(), depth = blocks * type.values;
    ASSERT_EQ(depth, static_cast<int64_t>(expected.size())) << name;
    std::vector<uint8_t> panel(static_cast<size_t>(format->panel_bytes(depth)), 0);
    for (const int64_t lane : {0, 5, 15}) ASSERT_TRUE(place_row(type, raw.data(), blocks, lane, panel.data())) << name;
    const QuantizedWeights weights{*format, panel.data(), 0, depth};
    std::vector<float> values(expected.size());
    for (const int64_t lane : {0, 5, 15}) {
      dequantize_row(weights, lane, values.data());
      EXPECT_EQ(values, expected) << name << " lane " << lane;
    }
    dequantize_row(weights, 4, values.data());  // a lane without a row
    EXPECT_EQ(values, std::vector<float>(values.size(), 0.0f)) << name;
  }
  EXPECT_THAT(kept, ElementsAre("Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"));
}

TEST(QuantizedBlocks, AScaleThatIsNotFiniteIsSeen) {
  for (const char* name : {"Q8_0", "Q4_1", "Q4_K", "Q6_K"}) {
    for (uint32_t number = 0; number < 40; ++number) {
      const files::GgufBlockType* type = files::find_block_type(number);
      if (type == nullptr || type->name != name) continue;
      const int64_t half = name == std::string("Q6_K") ? 208 : 0, depth = 2 * type->values;
      const QuantizedFormat format = *block_format(*type);
      for (const int bad : {0x7c, 0xfc, 0x7e}) {  // infinities and NaN
        std::vector<uint8_t> raw(static_cast<size_t>(2 * type->bytes), 0);
        std::vector<uint8_t> panel(static_cast<size_t>(format.panel_bytes(depth)), 0);
        EXPECT_TRUE(place_row(*type, raw.data(), 2, 0, panel.data()));
        raw[static_cast<size_t>(type->bytes + half + 1)] = static_cast<uint8_t>(bad);
        EXPECT_FALSE(place_row(*type, raw.data(), 2, 0, panel.data())) << name;
      }
    }
  }
}

// A model in which one weight's blocks are damaged.
class DamagedBlocks : public files::WeightReader {
 public:
  explicit DamagedBlocks(std::unique_ptr<files::WeightReader> inner) : inner_(std::move(inner)) {}
  const std::vector<files::WeightInfo>& weights() const override { return inner_->weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    return inner_->read_rows(name, begin, end, out);
  }
  const files::GgufBlockType* block_type(std::string_view name) const override { return inner_->block_type(name); }
  Result<void> read_blocks(std::string_view name, int64_t begin, int64_t end, uint8_t* raw) const override {
    TRY(inner_->read_blocks(name, begin, end, raw));
    const int64_t row_bytes = inner_->find(name)->shape[1] / 32 * 34;
    if (name == "model.layers.1.mlp.up_proj.weight" && begin <= 37 && 37 < end)
      raw[(37 - begin) * row_bytes + 1] = 0x7c;
    return {};
  }

 private:
  std::unique_ptr<files::WeightReader> inner_;
};

TEST(QuantizedBlocks, AFilesBlocksAreKeptAndItsFloatsToo) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  testing::Bench whole, blocks(2, "", testing::dtype_of("blocks")), eight(2, "", testing::dtype_of("int8"));
  auto open = [] { return value_of(files::open_model(golden("gguf/llama_q8_0.gguf"))); };
  const Model floats = whole.load(open()), kept = blocks.load(open()), all = eight.load(open());
  EXPECT_TRUE(kept.embedding.quantized());
  ASSERT_TRUE(kept.head);
  EXPECT_EQ(kept.head->arithmetic(), Arithmetic::kFloat32);  // F32 in the file
  EXPECT_TRUE(all.head->quantized());
  for (const Linear linear : {Linear::kQ, Linear::kK, Linear::kV, Linear::kDown}) {  // q and k: rows permuted
    const PackedMatrix &a = floats.layers[1][linear], &b = kept.layers[1][linear];
    ASSERT_TRUE(b.quantized());
    std::vector<float> expected(static_cast<size_t>(a.in)), ours(expected.size());
    for (int64_t row = 0; row < a.out; ++row) {
      a.copy_row(row, expected.data());
      b.copy_row(row, ours.data());
      ASSERT_EQ(ours, expected) << "row " << row;
    }
  }
  auto damaged = open();
  damaged.weights = std::make_unique<DamagedBlocks>(std::move(damaged.weights));
  const auto refused = load_model(*blocks.context, damaged, testing::dtype_of("blocks"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "[model] weight \"model.layers.1.mlp.up_proj.weight\" has a block in row 37 whose scale is not finite: the "
            "file is damaged or the model's training diverged.");
}

}  // namespace
}  // namespace candor::engine
