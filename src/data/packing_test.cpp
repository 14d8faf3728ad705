#include "data/packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/oracle.h"
#include "text/chat_template.h"

namespace candor::data {
namespace {

using ::testing::ElementsAre;

TEST(Pack, EqualsTrl) {
  const auto path = testing::golden("text/trl_data/packing.json");
  CANDOR_REQUIRE_FILE(path);
  const text::Json cases = text::Json::parse(testing::read_text(path))["cases"];
  ASSERT_EQ(cases.size(), 42u);
  for (const text::Json& test : cases) {
    SCOPED_TRACE(test["name"].get<std::string>() + " " + test["strategy"].get<std::string>());
    const auto lengths = test["lengths"].get<std::vector<int64_t>>();
    const auto strategy = packing_strategy(test["strategy"].get<std::string>());
    ASSERT_TRUE(strategy);
    std::vector<Bin> expected;
    for (const text::Json& bin : test["bins"]) {
      expected.emplace_back();
      for (const text::Json& piece : bin) expected.back().push_back({piece[0], piece[1], piece[2]});
    }
    auto bins = pack(lengths, test["seq_length"], *strategy);
    // The oracle reads its pieces off the packed tokens and so cannot see a border between two of one document's.
    for (Bin& bin : bins) {
      Bin joined;
      for (const Piece& piece : bin) {
        if (!joined.empty() && joined.back().row == piece.row &&
            joined.back().start + joined.back().length == piece.start) {
          joined.back().length += piece.length;
        } else {
          joined.push_back(piece);
        }
      }
      bin = joined;
    }
    EXPECT_EQ(bins, expected);
  }
}

// Lengths 5, 2, 3, 1 into bins of 4. bfd: 5 is cut to 4 and fills a bin; 3 and then 1 fill the second; 2 opens a third.
TEST(Pack, OnPaper) {
  const std::vector<int64_t> lengths = {5, 2, 3, 1};
  EXPECT_THAT(pack(lengths, 4, PackingStrategy::kBfd),
              ElementsAre(ElementsAre(Piece{0, 0, 4}), ElementsAre(Piece{2, 0, 3}, Piece{3, 0, 1}),
                          ElementsAre(Piece{1, 0, 2})));
  EXPECT_THAT(pack(lengths, 4, PackingStrategy::kBfdSplit),
              ElementsAre(ElementsAre(Piece{0, 0, 4}), ElementsAre(Piece{2, 0, 3}, Piece{0, 4, 1}),
                          ElementsAre(Piece{1, 0, 2}, Piece{3, 0, 1})));
  EXPECT_THAT(pack(lengths, 4, PackingStrategy::kWrapped),
              ElementsAre(ElementsAre(Piece{0, 0, 4}), ElementsAre(Piece{0, 4, 1}, Piece{1, 0, 2}, Piece{2, 0, 1}),
                          ElementsAre(Piece{2, 1, 2}, Piece{3, 0, 1})));
  EXPECT_TRUE(pack({}, 4, PackingStrategy::kBfd).empty());
}

TEST(Pack, ThatLosesNothingKeepsEveryTokenOnce) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 2500; ++i) lengths.push_back(i * 7919 % 53);
  for (const PackingStrategy strategy : {PackingStrategy::kBfdSplit, PackingStrategy::kWrapped}) {
    std::vector<std::vector<int>> seen;
    for (const int64_t length : lengths) seen.emplace_back(length, 0);
    for (const Bin& bin : pack(lengths, 32, strategy)) {
      int64_t tokens = 0;
      for (const Piece& piece : bin) {
        tokens += piece.length;
        for (int64_t t = 0; t < piece.length; ++t) ++seen[piece.row][piece.start + t];
      }
      EXPECT_LE(tokens, 32);
    }
    for (const auto& document : seen)
      for (const int count : document) ASSERT_EQ(count, 1);
  }
}

TEST(Pack, StrategiesAreNamed) {
  for (const char* name : {"bfd", "bfd_split", "wrapped"}) EXPECT_EQ(name_of(*packing_strategy(name)), name);
  EXPECT_EQ(packing_strategy("ffd").error().message,
            "packing_strategy: expected bfd, bfd_split or wrapped, got \"ffd\".");
}

}  // namespace
}  // namespace candor::data
