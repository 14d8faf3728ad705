#include "text/bpe_trainer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "text/tokenizer.h"

namespace candor::text {
namespace {

const std::vector<std::string> kTexts = {"low low low low low lower lower newest newest newest newest newest newest",
                                         "widest widest widest 12 12\n"};

std::string trained(int64_t vocab_size) {
  auto json = train_bpe(kTexts, {vocab_size, {"<|endoftext|>"}});
  EXPECT_TRUE(json) << json.error().message;
  return *json;
}

// The example of Sennrich et al. (arXiv 1508.07909), with its space in front of words: "es" and "est" come first.
TEST(BpeTrainer, TheCommonestPairIsMergedFirst) {
  const auto merges = nlohmann::json::parse(trained(257 + 4))["model"]["merges"];
  ASSERT_EQ(merges.size(), 4u);
  // 9 times: (e s), (s t); of equal counts the pair of smaller ids, e before s.
  EXPECT_EQ(merges[0], (nlohmann::json{"e", "s"}));
  EXPECT_EQ(merges[1], (nlohmann::json{"es", "t"}));
  EXPECT_EQ(merges[2], (nlohmann::json{"l", "o"}));  // 7 times, as (o w); l before o
  EXPECT_EQ(merges[3], (nlohmann::json{"lo", "w"}));
}

TEST(BpeTrainer, ThereAndBackAndDigitsStandAlone) {
  const auto tokenizer = Tokenizer::from_tokenizer_json(trained(300), "trained");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const std::string text : {"lowest wide 1234", "", "ünïcode \xF0\x9F\x98\x80\n\n\ttabs"}) {
    const auto ids = tokenizer->encode(text, {});
    ASSERT_TRUE(ids);
    EXPECT_EQ(tokenizer->decode(*ids, {}), text);
  }
  EXPECT_EQ(tokenizer->encode("12", {})->size(), 2u);  // "12" is frequent and yet two tokens
  EXPECT_EQ(tokenizer->encode("<|endoftext|>", {}).value(), std::vector<int32_t>{0});
}

TEST(BpeTrainer, EndsWhereNoPairOccursTwice) {
  EXPECT_EQ(nlohmann::json::parse(trained(100000))["model"]["vocab"].size(),
            257 + nlohmann::json::parse(trained(100000))["model"]["merges"].size());
  EXPECT_EQ(trained(290), trained(290));
}

TEST(BpeTrainer, ErrorsAreNamed) {
  EXPECT_EQ(train_bpe(kTexts, {200, {"<s>"}}).error().message,
            "[tokenizer] vocab_size 200 is less than the 1 special tokens and 256 bytes. Give at least 257.");
  const std::vector<std::string> broken = {"fine", "not\xFF"};
  EXPECT_EQ(train_bpe(broken, {300, {}}).error().message, "[tokenizer] text 2 is no UTF-8 at byte 3.");
}

}  // namespace
}  // namespace candor::text
