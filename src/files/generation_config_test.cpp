#include "files/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/scratch.h"

namespace candor::files {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GenerationConfig config_of(const char* json) {
  return std::move(generation_config_from_json(Json::parse(json), "g.json")).value();
}

std::string refusal(const char* json) {
  const auto config = generation_config_from_json(Json::parse(json), "g.json");
  return config ? "" : config.error().message;
}

TEST(GenerationConfig, WhatTheHubHolds) {
  // Qwen2.5-Instruct's, with its keys.
  const GenerationConfig qwen = config_of(R"({"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true,
    "eos_token_id": [151645, 151643], "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
    "transformers_version": "4.37.0"})");
  EXPECT_EQ(qwen.do_sample, true);
  EXPECT_EQ(qwen.temperature, 0.7);
  EXPECT_EQ(qwen.top_p, 0.8);
  EXPECT_EQ(qwen.top_k, 20);
  EXPECT_EQ(qwen.repetition_penalty, 1.1);
  EXPECT_EQ(qwen.min_p, std::nullopt);
  EXPECT_EQ(qwen.max_new_tokens, std::nullopt);
  EXPECT_THAT(qwen.not_supported, IsEmpty());
  const GenerationConfig smollm = config_of(R"({"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2})");
  EXPECT_EQ(smollm.do_sample, std::nullopt);
  EXPECT_EQ(smollm.temperature, std::nullopt);
  const GenerationConfig whole = config_of(R"({"max_length": 4096.0, "max_new_tokens": 20, "do_sample": false,
    "min_p": null, "bad_words_ids": [[5], [6, 7]], "suppress_tokens": [1, 2], "stop_strings": "END", "use_cache": true,
    "unheard": {"of": 1}})");
  EXPECT_EQ(whole.max_length, 4096);
  EXPECT_EQ(whole.max_new_tokens, 20);
  EXPECT_EQ(whole.do_sample, false);
  EXPECT_THAT(whole.bad_words, ElementsAre(ElementsAre(5), ElementsAre(6, 7), ElementsAre(1), ElementsAre(2)));
  EXPECT_THAT(whole.stop_strings, ElementsAre("END"));
  EXPECT_THAT(whole.not_supported, IsEmpty());
}

TEST(GenerationConfig, WhatWouldChangeTheResultIsTold) {
  EXPECT_THAT(config_of(R"({"num_beams": 4, "penalty_alpha": 0.6, "typical_p": 0.9, "top_h": 0.3,
                            "no_repeat_ngram_size": 3, "begin_suppress_tokens": [1]})")
                  .not_supported,
              ElementsAre("num_beams 4", "penalty_alpha 0.6", "typical_p 0.9", "no_repeat_ngram_size 3", "top_h 0.3",
                          "begin_suppress_tokens [1]"));
  EXPECT_THAT(config_of(R"({"num_beams": 1, "penalty_alpha": null, "typical_p": 1.0, "no_repeat_ngram_size": 0,
                            "token_healing": false, "begin_suppress_tokens": [], "length_penalty": 1.0})")
                  .not_supported,
              IsEmpty());
}

TEST(GenerationConfig, ValuesOfTheWrongTypeAreNamed) {
  EXPECT_EQ(refusal(R"({"temperature": "hot"})"), "[g.json] temperature: expected a number, got \"hot\".");
  EXPECT_EQ(refusal(R"({"top_k": 1.5})"), "[g.json] top_k: expected a whole number, got 1.5.");
  EXPECT_EQ(refusal(R"({"max_new_tokens": 1e300})"), "[g.json] max_new_tokens: expected a whole number, got 1e+300.");
  EXPECT_EQ(refusal(R"({"do_sample": 1})"), "[g.json] do_sample: expected true or false, got 1.");
  EXPECT_EQ(refusal(R"({"bad_words_ids": [5]})"), "[g.json] bad_words_ids: expected a list of token ids, got 5.");
  EXPECT_EQ(refusal(R"({"bad_words_ids": [[]]})"), "[g.json] bad_words_ids: expected a list of token ids, got [].");
  EXPECT_EQ(refusal(R"({"suppress_tokens": [-1]})"), "[g.json] suppress_tokens: expected token ids, got -1.");
  EXPECT_EQ(refusal(R"({"suppress_tokens": [4294967297]})"),
            "[g.json] suppress_tokens: expected token ids, got 4294967297.");
  EXPECT_EQ(refusal(R"({"stop_strings": [1]})"), "[g.json] stop_strings: expected text, got 1.");
  EXPECT_EQ(refusal("[]"), "[g.json] is no JSON object.");
}

TEST(GenerationConfig, OfAModelOnDisk) {
  candor::testing::ScratchFolder folder;
  EXPECT_EQ(read_generation_config(folder.path())->name, "");
  folder.write("generation_config.json", R"({"temperature": 0.5})");
  EXPECT_EQ(read_generation_config(folder.path())->temperature, 0.5);
  EXPECT_THAT(read_generation_config(folder.path())->name, HasSubstr("generation_config.json"));
  EXPECT_EQ(read_generation_config(folder.path() / "generation_config.json")->name, "");  // a file, as a GGUF is
  folder.write("generation_config.json", R"({"temperature": )");
  EXPECT_THAT(read_generation_config(folder.path()).error().message, HasSubstr("is not valid JSON"));
}

}  // namespace
}  // namespace candor::files
