// The tokenizer inside the real SmolLM2 GGUF file, and the tokenizer.json written from it, against the library's
// vectors. Skips where the model is absent.
#include <gtest/gtest.h>

#include "files/gguf.h"
#include "files/model_text.h"
#include "support/tokenizer_vectors.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_writer.h"

namespace candor::files {
namespace {

std::filesystem::path model_path() {
  const char* cache = std::getenv("CANDOR_CACHE");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder =
      cache ? std::filesystem::path(cache) : std::filesystem::path(home ? home : ".") / ".cache/candor";
  return folder / "models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

TEST(GgufTokenizer, SmolLM2) {
  CANDOR_REQUIRE_FILE(model_path());
  const auto vectors_path = testing::golden_tokenizers() / "real/smollm2.json";
  CANDOR_REQUIRE_FILE(vectors_path);
  const auto file = GgufFile::open(model_path());
  ASSERT_TRUE(file) << file.error().message;
  const auto vocabulary = vocabulary_of(*file);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->pre, "smollm");
  const auto tokenizer = text::Tokenizer::from_gguf(*vocabulary, "SmolLM2");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->size(), 49152);
  const auto json = text::tokenizer_json_of(*vocabulary, "SmolLM2");
  ASSERT_TRUE(json) << json.error().message;
  const auto written = text::Tokenizer::from_tokenizer_json(*json, "SmolLM2, written");
  ASSERT_TRUE(written) << written.error().message;

  // `cases` are those of a tokenizer.json without Digits; `gguf_cases` have the ids that the file itself asks for.
  nlohmann::json vectors = testing::read_json(vectors_path);
  std::map<std::string, nlohmann::json> own;
  for (const auto& item : vectors["gguf_cases"]) own[item["name"]] = item;
  EXPECT_EQ(own.size(), 3u);
  int replaced = 0;
  for (auto& item : vectors["cases"]) {
    const auto found = own.find(item["name"]);
    if (found == own.end()) continue;
    EXPECT_NE(item["ids"], found->second["ids"]);
    item["ids"] = found->second["ids"];
    ++replaced;
  }
  EXPECT_EQ(replaced, 3);
  for (const text::Tokenizer* each : {&*tokenizer, &*written}) {
    EXPECT_EQ(testing::check_encoding(*each, vectors, vectors["cases"], testing::tokenizer_strings("smollm2")), 195);
    testing::check_decoding(*each, vectors);
  }
}

}  // namespace
}  // namespace candor::files
