// Every file of golden/malformed: the wrong ones are refused in one sentence that names the file, the right ones read.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "files/gguf.h"
#include "files/model_files.h"
#include "files/safetensors.h"
#include "support/oracle.h"

namespace candor::files {
namespace {

using candor::testing::golden;

// Empty: accepted.
std::string refusal(const std::filesystem::path& path, const std::string& kind, bool container) {
  if (kind == "safetensors") {
    auto file = SafetensorsFile::open(path);
    return file ? "" : file.error().message;
  }
  if (container) {
    auto file = GgufFile::open(path);
    return file ? "" : file.error().message;
  }
  auto model = open_model(path);
  return model ? "" : model.error().message;
}

void expect_one_sentence(const std::string& message, const std::string& file) {
  EXPECT_EQ(message.front(), '[') << message;
  EXPECT_NE(message.find(file), std::string::npos) << message;
  EXPECT_EQ(message.back(), '.') << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_LT(message.size(), 400u) << message;
}

TEST(Malformed, EveryRefusalNamesTheFile) {
  CANDOR_REQUIRE_FILE(golden("malformed/manifest.json"));
  const auto manifest = nlohmann::json::parse(candor::testing::read_text(golden("malformed/manifest.json")));
  int refused = 0, accepted = 0;
  for (const auto& entry : manifest["files"]) {
    const std::string file = entry["file"], kind = entry["kind"];
    const bool container = entry["level"] == "container";
    SCOPED_TRACE(file + ": " + std::string(entry["what"]));
    const std::string message = refusal(golden("malformed/" + file), kind, container);
    EXPECT_EQ(!message.empty(), bool(entry["must_refuse"])) << message;
    if (message.empty()) {
      ++accepted;
    } else {
      ++refused;
      expect_one_sentence(message, file.ends_with('/') ? file.substr(0, file.size() - 1) : file);
      RecordProperty(file, message);
    }
    // What is refused as a container is refused as a model, too.
    if (kind == "gguf") {
      EXPECT_FALSE(open_model(golden("malformed/" + file)));
    }
  }
  EXPECT_EQ(refused, 97);
  EXPECT_EQ(accepted, 2);
}

// The fault itself is named, not another one met on the way.
TEST(Malformed, TheMessageNamesTheFault) {
  CANDOR_REQUIRE_FILE(golden("malformed/manifest.json"));
  const std::pair<const char*, const char*> cases[] = {
      {"gguf_big_endian.gguf", "big-endian"},
      {"gguf_version_99.gguf", "version 99"},
      {"gguf_huge_n_kv.gguf", "claims 1152921504606846976 metadata entries"},
      {"gguf_tensor_count_2_40.gguf", "claims 1099511627776 tensors"},
      {"gguf_key_length_2_63.gguf", "claims 9223372036854775808 bytes"},
      {"gguf_array_nested_2000_deep.gguf", "array of arrays"},
      {"gguf_duplicate_key.gguf", "\"x\" twice"},
      {"gguf_alignment_7.gguf", "general.alignment is 7"},
      {"gguf_alignment_2_31.gguf", "ends before the data"},
      {"gguf_n_dims_5.gguf", "5 dimensions"},
      {"gguf_negative_dim.gguf", "dimension of -32"},
      {"gguf_dims_overflow.gguf", "does not fit 64 bits"},
      {"gguf_offset_misaligned.gguf", "257"},
      {"gguf_overlap.gguf", "overlap"},
      {"gguf_tensor_type_removed.gguf", "type 4"},
      {"gguf_row_not_whole_blocks.gguf", "rows of 33 values"},
      {"gguf_architecture_missing.gguf", "general.architecture"},
      {"st_deep_nesting.safetensors", "a list"},
      {"st_not_utf8.safetensors", "UTF-8"},
      {"st_offsets_2_70.safetensors", "1180591620717411303424"},
      {"st_offsets_float.safetensors", "0.5"},
      {"st_offsets_three.safetensors", "3 data_offsets"},
      {"st_hole.safetensors", "leaving a hole"},
      {"st_overlap.safetensors", "overlapping"},
      {"st_trailing_bytes.safetensors", "16 bytes after its last tensor"},
      {"st_duplicate_name.safetensors", "\"a\" appears twice"},
      {"st_duplicate_field.safetensors", "\"shape\" twice"},
      {"st_unknown_dtype.safetensors", "F33"},
      {"index_path_traversal", "\"../valid.safetensors\""},
      {"index_absolute_path", "\"/etc/hostname\""},
      {"index_missing_shard", "model-00002-of-00002.safetensors"},
      {"index_tensor_not_in_shard", "\"model.norm.weight\""},
      {"index_not_json", "not valid JSON"},
      {"weights_missing", "neither model.safetensors nor"},
      {"weights_incomplete", "lm_head.weight"},
      {"config_not_json", "not valid JSON"},
      {"config_heads_zero", "num_attention_heads is 0"},
      {"config_hidden_negative", "hidden_size is -32"},
      {"config_layers_huge", "num_hidden_layers is 1099511627776"},
      {"config_vocab_string", "\"vocab_size\" is \"163\"; a whole number is expected"},
      {"config_kv_heads_3", "num_attention_heads 4 is no multiple of num_key_value_heads 3"},
      {"config_unknown_family", "model_type \"llama99\" is unknown"},
      {"config_unknown_rope", "rope type \"spiral\" is unknown"},
      {"config_unknown_activation", "hidden_act \"gelu_new_and_improved\""}};
  for (const auto& [file, fault] : cases) {
    const bool safetensors = std::string_view(file).starts_with("st_");
    const std::string message =
        refusal(golden(std::string("malformed/") + file), safetensors ? "safetensors" : "", false);
    EXPECT_NE(message.find(fault), std::string::npos) << file << ": " << message;
  }
}

}  // namespace
}  // namespace candor::files
