#include "belief/propositions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "belief/check_testing.h"
#include "support/scratch.h"

namespace candor::belief {
namespace {

using ::testing::HasSubstr;
using text::Json;

Result<Propositions> parsed(const Json& row) {
  data::Rows rows{"rows.jsonl", {{row, 1, 1}}};
  return parse_propositions(rows);
}

TEST(ParsePropositions, ReadsBackWhatIsWritten) {
  Proposition item = testing::good_proposition("Tver", 1);
  item.say = "Which line is for the book?";
  item.implies = {"b"};
  item.all_of = {"c", "d"};
  item.recall = Recall{"In which country is Tver?", {"Russia", "Russian Federation"}};
  item.fabricated = true;
  const Json json = to_json(item);
  const auto read = parsed(json);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(to_json(read->items[0]).dump(), json.dump());
  EXPECT_EQ(read->items[0].questions[3].options[1], "a rand");
  EXPECT_EQ(read->items[0].say, item.say);
  EXPECT_EQ(json["questions"][2]["if_true"], "no");
  EXPECT_EQ(json["questions"][3]["if_false"], "A");
}

TEST(ParsePropositions, WritesAFileAndReadsIt) {
  const testing::ScratchFolder folder;
  const std::filesystem::path path = folder / "rows.jsonl";
  const Propositions file = testing::good_file();
  ASSERT_TRUE(write_propositions(file.items, path));
  const auto read = read_propositions(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->items.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(to_json(read->items[i]), to_json(file.items[i]));
    EXPECT_EQ(read->items[i].number, static_cast<int64_t>(i) + 1);
  }
}

TEST(ParsePropositions, NamesWhatIsWrong) {
  const Json good = to_json(testing::good_proposition("Tver", 1));
  struct Case {
    const char* path;  // a JSON pointer
    Json value;        // null: removed
    const char* words;
  };
  const std::vector<Case> cases = {
      {"/statement", nullptr, "there is no \"statement\""},
      {"/id", 7, "\"id\" is a number. Expected text."},
      {"/topic", " ", "\"topic\" is empty"},
      {"/negation", std::string("a\0b", 3), "\"negation\" holds a NUL"},
      {"/paraphrase", "x", "the column \"paraphrase\" is unknown. Did you mean \"paraphrases\"?"},
      {"/paraphrases", "x", "\"paraphrases\" is a string. Expected a list of texts."},
      {"/paraphrases/1", "", "\"paraphrases\" holds an empty text"},
      {"/say", " ", "\"say\" is empty"},
      {"/label", "yes", "\"label\" is a string. Expected true or false."},
      {"/implies", {1}, "\"implies\" holds a number"},
      {"/recall", "x", "\"recall\" is a string. Expected an object."},
      {"/recall", {{"question", "q?"}}, "\"recall\" has no \"answers\""},
      {"/recall",
       {{"question", "q?"}, {"answer", "x"}},
       "in \"recall\" \"answer\" is unknown. Did you mean \"answers\"?"},
      {"/questions", "x", "\"questions\" is a string. Expected a list."},
      {"/questions/0", "x", "question 1: it is a string"},
      {"/questions/0/kind", "usage",
       "question 1: the kind \"usage\" is none of prerequisite, consequence, contradiction, use."},
      {"/questions/0/key", "x", "question 1: the member \"key\" is unknown"},
      {"/questions/0/if_true", "A", "question 1: \"if_true\" is \"A\". Expected \"yes\" or \"no\"."},
      {"/questions/1/if_true", "yes", "question 2: \"if_true\" is \"yes\". Expected \"A\" or \"B\"."},
      {"/questions/0/if_false", "yes", "question 1: \"if_true\" and \"if_false\" are the same"},
      {"/questions/1/options", {"x"}, "question 2: \"options\" holds 1 texts"},
      {"/topic", std::string(2001, 'x'), "\"topic\" is 2001 bytes long. At most 2000 are read."},
      {"/paraphrases", Json(std::vector<std::string>(51, "x")), "\"paraphrases\" holds 51 texts. At most 50 are read."},
      {"/questions", Json(std::vector<Json>(201, Json::object())), "\"questions\" holds 201. At most 200 are read."},
      {"/questions/1/options", Json::array(), "question 2: \"options\" holds 0 texts"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.words);
    Json row = good;
    if (one.value.is_null())
      row.erase("statement");
    else
      row[Json::json_pointer(one.path)] = one.value;
    const auto read = parsed(row);
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().message, HasSubstr("[propositions] rows.jsonl row 1: "));
    EXPECT_THAT(read.error().message, HasSubstr(one.words));
  }
}

}  // namespace
}  // namespace candor::belief
