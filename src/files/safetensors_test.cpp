#include "files/safetensors.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/half.h"
#include "support/oracle.h"

namespace candor::files {
namespace {

using candor::testing::golden;
using ::testing::ElementsAre;

TEST(Half, WidensEveryKindOfValue) {
  EXPECT_EQ(half_to_float(0x3c00), 1.0f);
  EXPECT_EQ(half_to_float(0xc000), -2.0f);
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0x0001), 0x1p-24f);
  EXPECT_EQ(half_to_float(0x03ff), 1023 * 0x1p-24f);
  EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
  EXPECT_EQ(half_to_float(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(half_to_float(0x7e00)));
  EXPECT_EQ(bfloat16_to_float(0x3f80), 1.0f);
  EXPECT_EQ(bfloat16_to_float(0xc0a0), -5.0f);
}

TEST(Safetensors, ReadsEachType) {
  CANDOR_REQUIRE_FILE(golden("models/llama/golden.safetensors"));
  auto file = SafetensorsFile::open(golden("models/llama/golden.safetensors"));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->integers("input_ids")->size(), 82u);
  EXPECT_EQ(file->floats("logits")->size(), 2u * 41 * 163);
  EXPECT_THAT(file->find("logits")->shape, ElementsAre(2, 41, 163));
  EXPECT_FALSE(file->floats("input_ids"));
  EXPECT_FALSE(file->integers("logits"));
  EXPECT_EQ(file->floats("nothing").error().message,
            fmt::format("[{}] has no tensor \"nothing\".", file->path().string()));
  auto smol = SafetensorsFile::open(golden("smollm2/golden.safetensors"));
  ASSERT_TRUE(smol) << smol.error().message;
  EXPECT_EQ(smol->find("prose.logprobs")->type, "F64");
  EXPECT_EQ(smol->doubles("prose.logprobs")->size(), 384u);
  EXPECT_EQ(smol->find("chat.input_ids")->type, "I32");
  EXPECT_EQ(smol->integers("chat.input_ids")->size(), 49u);
}

// The same weights in three types: rounding the float32 file gives the others bit for bit.
TEST(Safetensors, WidensHalfAndBfloat16) {
  CANDOR_REQUIRE_FILE(golden("models/llama_bf16/model.safetensors"));
  auto f32 = SafetensorsFile::open(golden("models/llama/model.safetensors"));
  auto bf16 = SafetensorsFile::open(golden("models/llama_bf16/model.safetensors"));
  auto f16 = SafetensorsFile::open(golden("models/llama_fp16/model.safetensors"));
  ASSERT_TRUE(f32 && bf16 && f16);
  int checked = 0;
  for (const TensorInfo& tensor : f32->tensors()) {
    const std::vector<float> exact = *f32->floats(tensor.name);
    const std::vector<float> b = *bf16->floats(tensor.name), h = *f16->floats(tensor.name);
    EXPECT_EQ(bf16->find(tensor.name)->type, "BF16");
    EXPECT_EQ(f16->find(tensor.name)->type, "F16");
    for (size_t i = 0; i < exact.size(); ++i, ++checked) {
      // Half a unit in the last place of 8 and of 11 bits; below 2^-14 binary16 has steps of 2^-24.
      ASSERT_LE(std::abs(b[i] - exact[i]), std::abs(exact[i]) * 0x1p-8f);
      ASSERT_LE(std::abs(h[i] - exact[i]), std::max(std::abs(exact[i]) * 0x1p-11f, 0x1p-25f));
      ASSERT_EQ(static_cast<float>(static_cast<_Float16>(exact[i])), h[i]);
    }
  }
  EXPECT_EQ(checked, 29024);
}

TEST(Safetensors, WritesWhatTheReferenceLibraryWrites) {
  CANDOR_REQUIRE_FILE(golden("adapters/lora/adapter_model.safetensors"));
  const std::filesystem::path path = golden("adapters/lora/adapter_model.safetensors");
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  std::vector<FloatTensor> tensors;
  for (const TensorInfo& tensor : file->tensors()) {
    tensors.push_back({tensor.name, tensor.shape, *file->floats(tensor.name)});
  }
  std::swap(tensors.front(), tensors.back());  // the writer sorts
  EXPECT_EQ(encode_safetensors(tensors), candor::testing::read_text(path));
}

TEST(Safetensors, AFileWithoutTensorsIsValid) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("candor_empty_{}.safetensors", ::getpid());
  std::ofstream(path, std::ios::binary) << encode_safetensors({});
  auto file = SafetensorsFile::open(path);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_TRUE(file->tensors().empty());
  EXPECT_EQ(file->metadata().at("format"), "pt");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace candor::files
