// Blocks against gguf-py's, bit for bit, and what no block can hold.
#include "files/gguf_block_encoders.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/half.h"
#include "files/safetensors.h"
#include "support/oracle.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using ::testing::ElementsAre;

TEST(GgufBlockEncoders, RoundAsGgufPyBitForBit) {
  CANDOR_REQUIRE_FILE(golden("gguf/blocks.safetensors"));
  const auto blocks = SafetensorsFile::open(golden("gguf/blocks.safetensors"));
  ASSERT_TRUE(blocks) << blocks.error().message;
  std::vector<std::string> checked;
  for (const char* name : {"BF16", "F16", "Q4_0", "Q4_1", "Q8_0"}) {
    SCOPED_TRACE(name);
    const GgufBlockType* type = find_encoder(name);
    ASSERT_NE(type, nullptr);
    const std::vector<float> input = *blocks->floats(std::string(name) + ".input");
    const std::vector<int64_t> wide = *blocks->integers(std::string(name) + ".raw");
    const std::vector<uint8_t> expected(wide.begin(), wide.end());
    std::vector<uint8_t> raw(expected.size());
    ASSERT_EQ(static_cast<int64_t>(input.size()) / type->values * type->bytes, static_cast<int64_t>(raw.size()));
    EXPECT_EQ(encode_blocks(*type, input, raw.data()), -1);
    EXPECT_EQ(raw, expected);
    checked.emplace_back(name);
  }
  EXPECT_EQ(checked.size(), 5u);
}

TEST(GgufBlockEncoders, F32IsTheNumbersThemselves) {
  const float values[] = {1.5f, -0.0f, 1e-45f, 3.4e38f};
  uint8_t raw[16];
  EXPECT_EQ(encode_blocks(*find_encoder("F32"), values, raw), -1);
  EXPECT_EQ(std::memcmp(raw, values, sizeof(values)), 0);
}

TEST(GgufBlockEncoders, ABlockThatCannotBeHeldIsNamedByItsIndex) {
  for (const char* name : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"}) {
    SCOPED_TRACE(name);
    const GgufBlockType& type = *find_encoder(name);
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      std::vector<float> values(64, 1.0f);
      std::vector<uint8_t> raw(64 * 4);
      values[41] = bad;
      EXPECT_EQ(encode_blocks(type, values, raw.data()), 41);
    }
  }
  std::vector<float> values(64, 1.0f);
  std::vector<uint8_t> raw(64 * 4);
  values[41] = -3e38f;
  EXPECT_EQ(encode_blocks(*find_encoder("F32"), values, raw.data()), -1);
  EXPECT_EQ(encode_blocks(*find_encoder("BF16"), values, raw.data()), -1);
  for (const char* name : {"F16", "Q8_0", "Q4_0", "Q4_1"})
    EXPECT_EQ(encode_blocks(*find_encoder(name), values, raw.data()), 41) << name;
  values[41] = 3.4e38f;  // beyond the largest bfloat16 once it is rounded
  EXPECT_EQ(encode_blocks(*find_encoder("BF16"), values, raw.data()), 41);
  values[41] = 65504.0f * 127;  // the largest that a Q8_0 block holds
  EXPECT_EQ(encode_blocks(*find_encoder("Q8_0"), values, raw.data()), -1);
}

TEST(GgufBlockEncoders, ZerosAndNumbersTooSmallForAScaleBecomeZero) {
  for (const char* name : {"Q8_0", "Q4_0", "Q4_1"}) {
    SCOPED_TRACE(name);
    const GgufBlockType& type = *find_encoder(name);
    for (const float small : {0.0f, 1e-45f, -1e-40f, 1e-30f}) {
      const std::vector<float> values(32, small);
      std::vector<uint8_t> raw(static_cast<size_t>(type.bytes));
      EXPECT_EQ(encode_blocks(type, values, raw.data()), -1);
      std::vector<float> back(32, 1.0f);
      type.dequantize(raw.data(), 1, back.data());
      for (const float value : back) EXPECT_EQ(value, 0.0f) << small;
    }
  }
}

TEST(GgufBlockEncoders, PackedCodesComeBack) {
  uint8_t nibbles[kGroup];
  int8_t bytes[kGroup];
  for (int i = 0; i < kGroup; ++i)
    nibbles[i] = static_cast<uint8_t>((i * 7) % 16), bytes[i] = static_cast<int8_t>(8 * i - 127);
  uint8_t raw[34];
  float back[kGroup];
  const uint16_t half = float_to_half(0.5f), two = float_to_half(2.0f);
  pack_q8_0(half, bytes, raw);
  find_encoder("Q8_0")->dequantize(raw, 1, back);
  for (int i = 0; i < kGroup; ++i) EXPECT_EQ(back[i], 0.5f * static_cast<float>(bytes[i]));
  pack_q4_0(half, nibbles, raw);
  find_encoder("Q4_0")->dequantize(raw, 1, back);
  for (int i = 0; i < kGroup; ++i) EXPECT_EQ(back[i], 0.5f * static_cast<float>(nibbles[i] - 8));
  pack_q4_1(half, two, nibbles, raw);
  find_encoder("Q4_1")->dequantize(raw, 1, back);
  for (int i = 0; i < kGroup; ++i) EXPECT_EQ(back[i], 0.5f * static_cast<float>(nibbles[i]) + 2.0f);
}

TEST(GgufBlockEncoders, UnknownTypesHaveNone) {
  for (const char* name : {"Q5_0", "Q4_K", "q8_0", ""}) EXPECT_EQ(find_encoder(name), nullptr) << name;
}

}  // namespace
}  // namespace candor::files
