#include "data/assistant_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"

namespace candor::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using text::Json;
using Ranges = std::vector<std::pair<size_t, size_t>>;

Ranges byte_ranges(const std::string& text, const Json& code_points) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i)
    if ((text[i] & 0xC0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  Ranges ranges;
  for (const Json& span : code_points) ranges.emplace_back(starts[span[0]], starts[span[1]]);
  return ranges;
}

// Transformers' masks of 12 templates with marks. Every real one is the plain overlap of tokens and spans.
TEST(TokensInRanges, EqualsTransformers) {
  const auto path = testing::golden("text/templates/masks.json");
  CANDOR_REQUIRE_FILE(path);
  const Json oracle = Json::parse(testing::read_text(path));
  const std::string source = testing::read_text(testing::golden("text/tokenizers/qwen2_style/tokenizer.json"));
  const auto tokenizer = text::Tokenizer::from_tokenizer_json(source, "qwen2_style");
  ASSERT_TRUE(tokenizer);
  int compared = 0;
  for (const Json& row : oracle["masks"]) {
    if (!row.contains("mask")) continue;
    const std::string text = row["text"];
    const auto ids = tokenizer->encode(text, {});
    ASSERT_TRUE(ids);
    const auto mask = tokens_in_ranges(*tokenizer, text, *ids, byte_ranges(text, row["spans"]));
    ASSERT_TRUE(mask);
    EXPECT_EQ(*mask, row["mask"].get<std::vector<uint8_t>>()) << row["template"] << " " << row["conversation"];
    ++compared;
  }
  EXPECT_EQ(compared, 198);
}

constexpr const char* kTokenizer = R"({"version": "1.0", "added_tokens": [], "normalizer": null,
  "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
  "model": {"type": "WordLevel", "unk_token": "?", "vocab":
    {"?": 0, "a": 1, "b": 2, "c": 3, "user:": 4, "assistant:": 5, "end": 6, "think": 7}}})";

class AssistantTokensTest : public ::testing::Test {
 protected:
  Result<AssistantTokens> tokens(const char* source, const char* conversation) {
    const auto chat_template = text::ChatTemplate::parse(source);
    const TextReader reader{tokenizer_, &*chat_template, special_};
    const Json messages = Json::parse(conversation), columns = Json::object();
    const text::Rendered whole = TRY(render_messages(reader, messages, columns, "messages", false));
    const auto ids = TRY(encode_rendered(reader, whole.text));
    return assistant_tokens(reader, messages, columns, "messages", whole, ids);
  }
  text::Tokenizer tokenizer_ = std::move(text::Tokenizer::from_tokenizer_json(kTokenizer, "test")).value();
  Json special_ = Json::object();
};

constexpr const char* kPlain =
    "{% for m in messages %}{{ m.role }}: {{ m.content }} end {% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}";

TEST_F(AssistantTokensTest, ATurnIsWhatItsMessageAdds) {
  const auto turns = tokens(kPlain, R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
      {"role": "user", "content": "b"}, {"role": "assistant", "content": "a c"}])");
  ASSERT_TRUE(turns) << turns.error().message;
  EXPECT_TRUE(turns->derived);
  EXPECT_THAT(turns->mask, ElementsAre(0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1));
}

// The first message follows no generation prompt; nor does any after one that the whole does not write ("think").
TEST_F(AssistantTokensTest, ATurnWithoutGenerationPromptBeginsWithItsContent) {
  const auto first = tokens(kPlain, R"([{"role": "assistant", "content": " b "}, {"role": "user", "content": "a"}])");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_THAT(first->mask, ElementsAre(0, 1, 1, 0, 0, 0));
  const auto thinks = tokens(
      "{% for m in messages %}{{ m.role }}: {{ m.content }} end {% endfor %}"
      "{% if add_generation_prompt %}assistant: think {% endif %}",
      R"([{"role": "user", "content": "b"}, {"role": "assistant", "content": "b"}])");
  ASSERT_TRUE(thinks) << thinks.error().message;
  EXPECT_THAT(thinks->mask, ElementsAre(0, 0, 0, 0, 1, 1));
}

TEST_F(AssistantTokensTest, MarksOfTheTemplateHold) {
  const auto marked =
      tokens("{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %} end {% endfor %}",
             R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])");
  ASSERT_TRUE(marked) << marked.error().message;
  EXPECT_FALSE(marked->derived);
  EXPECT_THAT(marked->mask, ElementsAre(0, 1, 0, 0, 1, 0));
}

TEST_F(AssistantTokensTest, ATurnThatIsRenderedAnewCannotBeFound) {
  const auto turns = tokens(
      "{% for m in messages %}{{ m.role }}: {% if loop.last %}think {% endif %}{{ m.content }} end {% endfor %}",
      R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}])");
  ASSERT_FALSE(turns);
  EXPECT_EQ(
      turns.error().message,
      "the chat template renders message 2 of \"messages\" differently when the conversation goes on, so the "
      "assistant's tokens cannot be told apart. Use a template with {% generation %} marks, or rows of prompt and "
      "completion.");
}

}  // namespace
}  // namespace candor::data
