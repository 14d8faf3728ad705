#include "recipes/training_run.h"

#include <gtest/gtest.h>

#include "files/model_files.h"
#include "support/golden_model.h"

namespace candor::recipes {
namespace {

using candor::testing::golden;
using candor::testing::value_of;
using engine::Dtype;

TEST(TrainingDtype, AutoIsAQuantizedFilesBlocksWhereAnAdapterTrainsAndFloatsWhereEveryWeightDoes) {
  CANDOR_REQUIRE_FILE(golden("gguf/llama_q8_0.gguf"));
  const auto quantized = value_of(files::open_model(golden("gguf/llama_q8_0.gguf")));
  const auto half = value_of(files::open_model(golden("models/llama_bf16")));
  auto chosen = [](const char* dtype, bool use_peft, const files::ModelFiles& files) {
    TrainingConfig config;
    config.dtype = dtype;
    config.use_peft = use_peft;
    return engine::dtype_name(value_of(training_dtype(config, files, engine::plain_kernels())));
  };
  EXPECT_EQ(chosen("auto", true, quantized), "blocks with bfloat16 activations");
  EXPECT_EQ(chosen("auto", false, quantized), "float32");
  EXPECT_EQ(chosen("float32", true, quantized), "float32");
  EXPECT_EQ(chosen("blocks", false, quantized), "blocks with bfloat16 activations");  // refused later, by name
  EXPECT_EQ(chosen("auto", true, half), "bfloat16");
  EXPECT_EQ(chosen("auto", false, half), "bfloat16");
}

}  // namespace
}  // namespace candor::recipes
