#include "engine/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/half.h"
#include "engine/kv_pages.h"
#include "engine/testing.h"
#include "support/golden_model.h"

namespace candor::engine {
namespace {

using candor::testing::golden;
using candor::testing::value_of;
using testing::Bench;
using ::testing::HasSubstr;

files::ModelFiles tiny_files() {
  return testing::random_model_files(testing::tiny_config(), 1);
}

TEST(Dtype, NamesAsUsersWriteThem) {
  const auto files = tiny_files();
  for (const char* name : {"float32", "fp32", ""})
    EXPECT_EQ(value_of(choose_dtype(name, "", files, plain_kernels())), Dtype::kFloat32);
  for (const char* name : {"bfloat16", "bf16"})
    EXPECT_EQ(value_of(choose_dtype(name, "", files, plain_kernels())), Dtype::kBfloat16);
  EXPECT_EQ(dtype_name(Dtype::kBfloat16), "bfloat16");
  EXPECT_THAT(choose_dtype("float16", "", files, plain_kernels()).error().message, HasSubstr("\"float16\" is unknown"));
}

TEST(Dtype, QuantizedWeightsMeetActivationsOfThreeKinds) {
  const auto files = tiny_files();
  for (const char* weights : {"int8", "int4", "blocks"}) {
    auto chosen = [&](const char* activations, const Kernels& kernels) {
      return dtype_name(value_of(choose_dtype(weights, activations, files, kernels)));
    };
    const std::string name = weights;
    EXPECT_EQ(chosen("int8", plain_kernels()), name);
    EXPECT_EQ(chosen("bfloat16", plain_kernels()), name + " with bfloat16 activations");
    EXPECT_EQ(chosen("float32", plain_kernels()), name + " with float32 activations");
    EXPECT_EQ(chosen("auto", plain_kernels()), name + " with bfloat16 activations");  // no fast products of bytes
    EXPECT_EQ(chosen("", plain_kernels()), chosen("auto", plain_kernels()));
    if (avx2_kernels() != nullptr) {
      EXPECT_EQ(chosen("auto", *avx2_kernels()), name);
    }
  }
  EXPECT_EQ(value_of(choose_dtype("float32", "int8", files, plain_kernels())), Dtype::kFloat32);
  EXPECT_EQ(choose_dtype("int8", "int7", files, plain_kernels()).error().message,
            "[quantized_activations] \"int7\" is unknown. Choose auto, int8, bfloat16 or float32.");
}

TEST(Dtype, ByDefaultWhatTheFileHolds) {
  CANDOR_REQUIRE_FILE(golden("models"));
  const std::pair<const char*, Dtype> held[] = {{"models/llama", Dtype::kFloat32},
                                                {"models/llama_bf16", Dtype::kBfloat16},
                                                {"models/llama_fp16", Dtype::kFloat32},
                                                {"gguf/llama_f32.gguf", Dtype::kFloat32}};
  Bench bench;
  for (const auto& [path, dtype] : held) {
    const auto files = value_of(files::open_model(golden(path)));
    EXPECT_EQ(value_of(choose_dtype("", "", files, plain_kernels())), dtype) << path;
    EXPECT_EQ(value_of(load_model(*bench.context, files)).dtype, dtype) << path;
    EXPECT_EQ(value_of(load_model(*bench.context, files, Dtype::kBfloat16)).dtype, Dtype::kBfloat16) << path;
  }
}

TEST(Dtype, ByDefaultAQuantizedFilesOwnBlocks) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  Bench bench;
  const auto files = value_of(files::open_model(golden("gguf/llama_q8_0.gguf")));
  for (const char* wanted : {"", "auto"}) {
    const Dtype chosen = value_of(choose_dtype(wanted, "", files, plain_kernels()));
    EXPECT_EQ(chosen, (Dtype{WeightKind::kBlocks, Arithmetic::kBfloat16}));
    EXPECT_EQ(value_of(choose_dtype(wanted, "int8", files, plain_kernels())).activations, Arithmetic::kInt8);
  }
  const Model model = value_of(load_model(*bench.context, files));
  EXPECT_EQ(model.dtype.weights, WeightKind::kBlocks);
  EXPECT_TRUE(model.layers[1][Linear::kUp].quantized());
  EXPECT_EQ(model.head->arithmetic(), Arithmetic::kFloat32);  // F32 in the file
}

TEST(Dtype, WeightsAreThoseOfTheFileRounded) {
  CANDOR_REQUIRE_FILE(golden("models"));
  Bench whole, half(2, "", Dtype::kBfloat16);
  for (const char* path : {"models/llama", "models/llama_bf16", "models/llama_fp16"}) {
    const auto files = value_of(files::open_model(golden(path)));
    const Model a = whole.load(files), b = half.load(files);
    const bool exact = std::string_view(path) == "models/llama_bf16";
    int64_t changed = 0;
    for (const Linear linear : {Linear::kQ, Linear::kDown}) {
      const PackedMatrix &x = a.layers[1][linear], &y = b.layers[1][linear];
      for (int64_t row = 0; row < x.out; ++row) {
        std::vector<float> from(static_cast<size_t>(x.in)), to(from.size());
        x.copy_row(row, from.data());
        y.copy_row(row, to.data());
        for (size_t k = 0; k < from.size(); ++k) {
          EXPECT_EQ(to[k], bfloat16_to_float(float_to_bfloat16(from[k]))) << path;
          changed += to[k] != from[k];
        }
      }
    }
    EXPECT_EQ(changed == 0, exact) << path;
  }
}

int64_t weight_bytes(const Bench& bench, bool matrices) {
  int64_t bytes = 0;
  for (const auto& entry : bench.ledger.entries())
    if (entry.role == "weights" && (entry.name.find("norm") == std::string::npos) == matrices) bytes += entry.bytes;
  return bytes;
}

TEST(Dtype, MatricesTakeHalfTheBytesAndNormsTheSame) {
  Bench whole, half(2, "", Dtype::kBfloat16);
  const Model a = whole.random_model(), b = half.random_model();
  EXPECT_EQ(weight_bytes(half, true) * 2, weight_bytes(whole, true));
  EXPECT_EQ(weight_bytes(half, false), weight_bytes(whole, false));
}

class OneLargeWeight : public files::WeightReader {
 public:
  explicit OneLargeWeight(std::unique_ptr<files::WeightReader> inner) : inner_(std::move(inner)) {}
  const std::vector<files::WeightInfo>& weights() const override { return inner_->weights(); }
  Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const override {
    TRY(inner_->read_rows(name, begin, end, out));
    if (name == "model.layers.1.mlp.up_proj.weight" && begin <= 37 && 37 < end)
      out[(37 - begin) * 40 + 5] = std::numeric_limits<float>::max();
    return {};
  }

 private:
  std::unique_ptr<files::WeightReader> inner_;
};

TEST(Dtype, AWeightThatRoundingMakesInfiniteIsNamed) {
  auto files = tiny_files();
  files.weights = std::make_unique<OneLargeWeight>(std::move(files.weights));
  Bench bench;
  EXPECT_TRUE(load_model(*bench.context, files, Dtype::kFloat32));
  const auto refused = load_model(*bench.context, files, Dtype::kBfloat16);
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().message,
      "[model] weight \"model.layers.1.mlp.up_proj.weight\" holds a number in row 37 that lies beyond the range of "
      "bfloat16. Choose --dtype float32.");
}

TEST(KvPages, Bfloat16IsRoundedOnceAndTakesHalfTheBytes) {
  const files::ModelConfig config = testing::tiny_config();
  MemoryLedger ledger;
  KvPool whole(ledger, "float32", config, Dtype::kFloat32), half(ledger, "bfloat16", config, Dtype::kBfloat16);
  const int64_t width = config.kv_heads * config.head_dim, block = padded(config.head_dim) * kPageTokens;
  const Floats k = noise(width, 1), v = noise(width, 2);
  const int32_t a = whole.take(), b = half.take();
  whole.store(a, 1, 21, k.data(), v.data());
  half.store(b, 1, 21, k.data(), v.data());
  const int32_t c = half.copy(b), d = half.take();
  half.copy_slots(b, d, 1, 6);
  Floats scratch(static_cast<size_t>(block));
  const Kernels& kernels = plain_kernels();
  for (int64_t head = 0; head < config.kv_heads; ++head)
    for (const bool keys : {true, false}) {
      auto read = [&](KvPool& pool, int32_t page) {
        const float* at = keys ? pool.keys(kernels, page, 1, head, scratch.data())
                               : pool.values(kernels, page, 1, head, scratch.data());
        return Floats(at, at + block);
      };
      Floats expected = read(whole, a);
      EXPECT_NE(*std::max_element(expected.begin(), expected.end()), 0.0f);
      for (float& x : expected) x = bfloat16_to_float(float_to_bfloat16(x));
      EXPECT_EQ(read(half, b), expected);
      EXPECT_EQ(read(half, c), expected);
      EXPECT_EQ(read(half, d), expected);
    }
  std::map<std::string, int64_t> bytes;
  for (const auto& entry : ledger.entries()) bytes[entry.role] = entry.bytes;
  EXPECT_EQ(bytes["bfloat16"] * 2, bytes["float32"]);
}

}  // namespace
}  // namespace candor::engine
