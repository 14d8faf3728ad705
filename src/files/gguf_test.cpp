#include "files/gguf.h"

#include <gmock/gmock.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "files/safetensors.h"
#include "support/oracle.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using ::testing::ElementsAre;

TEST(Gguf, ReadsAValueOfEveryType) {
  CANDOR_REQUIRE_FILE(golden("gguf/kv_types.gguf"));
  auto file = GgufFile::open(golden("gguf/kv_types.gguf"));
  ASSERT_TRUE(file) << file.error().message;
  const auto expected = nlohmann::json::parse(candor::testing::read_text(golden("gguf/kv_types.json")));
  int checked = 0;
  for (const auto& [key, value] : expected["metadata"].items()) {
    SCOPED_TRACE(key);
    const GgufValue* found = file->find_value(key);
    ASSERT_NE(found, nullptr);
    ++checked;
    if (const auto* text = std::get_if<std::string>(found))
      EXPECT_EQ(*text, value);
    else if (const auto* flag = std::get_if<bool>(found))
      EXPECT_EQ(*flag, value);
    else if (const auto* number = std::get_if<double>(found))
      EXPECT_EQ(*number, double(value));
    else if (const auto* number = std::get_if<uint64_t>(found)) {
      EXPECT_EQ(std::to_string(*number), value.is_string() ? std::string(value) : value.dump());
    } else if (const auto* number = std::get_if<int64_t>(found)) {
      EXPECT_EQ(std::to_string(*number), value.is_string() ? std::string(value) : value.dump());
    } else {
      const auto& array = std::get<GgufArray>(*found);
      EXPECT_EQ(array.count, value.size());
      if (key == "test.array_bools")
        EXPECT_EQ(array.bytes, std::string("\1\0\1", 3));
      else if (value.front().is_string())
        EXPECT_EQ(array.strings, value.get<std::vector<std::string>>());
      else if (auto floats = array.floats())
        EXPECT_EQ(*floats, value.get<std::vector<double>>());
      else
        EXPECT_EQ(array.integers(), value.get<std::vector<int64_t>>());
    }
  }
  EXPECT_EQ(checked, 18);
  EXPECT_EQ(file->metadata().size(), 18u);
  EXPECT_FALSE(file->integer("test.string"));
  EXPECT_FALSE(file->integer("test.uint64"));  // does not fit
  EXPECT_EQ(*file->integer("test.absent"), std::nullopt);
}

TEST(Gguf, ReadsTensorsOfOneToFourDimensions) {
  CANDOR_REQUIRE_FILE(golden("gguf/kv_types.gguf"));
  auto file = GgufFile::open(golden("gguf/kv_types.gguf"));
  ASSERT_TRUE(file);
  EXPECT_THAT(file->find_tensor("scalar_like")->shape, ElementsAre(1));
  const GgufTensor* four = file->find_tensor("four_dims");
  EXPECT_THAT(four->shape, ElementsAre(1, 2, 3, 4));
  std::vector<float> values(24);
  ASSERT_TRUE(file->file().read(four->offset, values.data(), four->bytes));
  for (int i = 0; i < 24; ++i) EXPECT_EQ(values[i], static_cast<float>(i));
  const GgufTensor* half = file->find_tensor("half");
  uint8_t raw[6];
  ASSERT_TRUE(file->file().read(half->offset, raw, half->bytes));
  half->type->dequantize(raw, 3, values.data());
  EXPECT_THAT(std::vector(values.begin(), values.begin() + 3), ElementsAre(1.0f, -2.0f, 0.5f));
  EXPECT_EQ(file->find_tensor("ints")->type->name, "I32");
}

TEST(GgufBlocks, DequantizeBitForBit) {
  CANDOR_REQUIRE_FILE(golden("gguf/blocks.safetensors"));
  auto blocks = SafetensorsFile::open(golden("gguf/blocks.safetensors"));
  ASSERT_TRUE(blocks) << blocks.error().message;
  const auto sizes = nlohmann::json::parse(candor::testing::read_text(golden("gguf/blocks.json")));
  std::vector<std::string> dequantized;
  for (const auto& [name, entry] : sizes["types"].items()) {
    SCOPED_TRACE(name);
    const GgufBlockType* type = find_block_type(entry["ggml_type"]);
    ASSERT_NE(type, nullptr);
    EXPECT_EQ(type->name, name);
    EXPECT_EQ(type->values, entry["block_size"]);
    EXPECT_EQ(type->bytes, entry["block_bytes"]);
    if (type->dequantize == nullptr) continue;
    dequantized.push_back(name);
    const std::vector<int64_t> wide = *blocks->integers(name + ".raw");
    const std::vector<uint8_t> raw(wide.begin(), wide.end());
    const std::vector<float> expected = *blocks->floats(name + ".values");
    std::vector<float> values(expected.size());
    ASSERT_EQ(static_cast<int64_t>(raw.size()), entry["blocks"].get<int64_t>() * type->bytes);
    type->dequantize(raw.data(), entry["blocks"], values.data());
    EXPECT_EQ(std::memcmp(values.data(), expected.data(), 4 * values.size()), 0);
  }
  EXPECT_THAT(dequantized, ElementsAre("BF16", "F16", "Q2_K", "Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K",
                                       "Q6_K", "Q8_0"));
}

TEST(GgufBlocks, Q8CodesReachMinus128) {
  uint8_t raw[34] = {0x00, 0x40};  // scale 2 as binary16
  raw[2] = 0x80;
  raw[3] = 0x7f;
  raw[4] = 0x81;
  float values[32];
  find_block_type(8)->dequantize(raw, 1, values);
  EXPECT_EQ(values[0], -256.0f);
  EXPECT_EQ(values[1], 254.0f);
  EXPECT_EQ(values[2], -254.0f);
  EXPECT_EQ(values[3], 0.0f);
}

}  // namespace
}  // namespace candor::files
