#include "data/write_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/scratch.h"

namespace candor::data {
namespace {

using ::testing::HasSubstr;
using text::Json;

constexpr const char* kLines =
    "{\"text\":\"a, \\\"b\\\"\\n\xED\x95\x9C\",\"n\":1,\"x\":0.1,\"messages\":[{\"role\":\"user\",\"content\":null}]}\n"
    "{\"n\":-0.0,\"text\":\"\",\"more\":{\"k\":[true,null]},\"big\":1e+300}\n";

TEST(JsonLine, ReadsBackTheSame) {
  const auto rows = parse_json_rows(kLines, "f");
  ASSERT_TRUE(rows);
  EXPECT_EQ(json_line(rows->rows[0].columns) + "\n" + json_line(rows->rows[1].columns) + "\n", kLines);
  const auto odd = parse_json_rows("{\"a\": [NaN, Infinity, -Infinity]}", "f");
  ASSERT_TRUE(odd);
  EXPECT_EQ(json_line(odd->rows[0].columns), "{\"a\":[NaN,Infinity,-Infinity]}");
}

TEST(WriteRows, EveryFormatAndPackingReadsBack) {
  const testing::ScratchFolder scratch;
  const auto rows = parse_json_rows(kLines, "f");
  ASSERT_TRUE(rows);
  for (const char* name :
       {"a.jsonl", "a.json", "a.ndjson", "a", "a.jsonl.gz", "a.json.gz", "a.jsonl.zst", "a.json.zst"}) {
    SCOPED_TRACE(name);
    const auto path = scratch.path() / name;
    ASSERT_TRUE(write_rows(*rows, path));
    const auto back = read_rows(path);
    ASSERT_TRUE(back) << back.error().message;
    ASSERT_EQ(back->rows.size(), 2u);
    for (size_t i = 0; i < 2; ++i) EXPECT_EQ(json_line(back->rows[i].columns), json_line(rows->rows[i].columns));
    EXPECT_THAT(write_rows(*rows, path).error().message, HasSubstr("there is a file of this name already"));
  }
  EXPECT_THAT(write_rows(*rows, scratch.path() / "a.txt").error().message, HasSubstr("unknown extension \".txt\""));
}

// CSV holds text: numbers and lists come back as their JSON; an absent column is null, an empty text is not.
TEST(WriteRows, CsvKeepsTexts) {
  const auto rows = parse_json_rows(kLines, "f");
  const auto bytes = format_rows(*rows, {RowFormat::kCsv, Compression::kZstd});
  ASSERT_TRUE(bytes);
  const auto plain = unpack(*bytes);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->substr(0, plain->find('\n')), "text,n,x,messages,more,big");
  const auto back = parse_csv_rows(*plain, "f.csv");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->rows[0].columns["text"], rows->rows[0].columns["text"]);
  EXPECT_EQ(back->rows[0].columns["messages"], "[{\"role\":\"user\",\"content\":null}]");
  EXPECT_EQ(back->rows[1].columns["text"], "");
  EXPECT_TRUE(back->rows[1].columns["x"].is_null());
}

TEST(Compression, RefusesWhatIsDamagedOrGrowsTooMuch) {
  const std::string text(3 << 20, 'a');
  for (const Compression kind : {Compression::kGzip, Compression::kZstd}) {
    const auto packed = pack_bytes(text, kind);
    ASSERT_TRUE(packed);
    EXPECT_EQ(compression_of(*packed), kind);
    EXPECT_EQ(*unpack(*packed), text);
    EXPECT_EQ(*unpack(*packed + *packed), text + text);  // members and frames follow each other
    EXPECT_THAT(unpack(packed->substr(0, packed->size() - 3)).error().message, HasSubstr("cut off"));
    std::string damaged = *packed;
    for (size_t i = damaged.size() / 2; i < damaged.size(); ++i) damaged[i] = static_cast<char>(~damaged[i]);
    EXPECT_FALSE(unpack(damaged));
    const auto bomb = pack_bytes(std::string(size_t{80} << 20, 'a'), kind);
    ASSERT_TRUE(bomb);
    const bool small_enough = bomb->size() * 200 + (size_t{64} << 20) >= (size_t{80} << 20);
    if (small_enough)
      EXPECT_TRUE(unpack(*bomb));
    else
      EXPECT_THAT(unpack(*bomb).error().message, HasSubstr("200 times its size"));
  }
  EXPECT_EQ(*unpack("plain"), "plain");
}

TEST(ReadEveryRow, GoesOnAfterABrokenRow) {
  const ReadRows read =
      read_every_row("7\n{\"a\": 1}\n{\"a\": 2\n{\"a\": 3}\n{\"a\":\n  \"x\xff\"}\n{\"a\": 4, \"a\": 5}\n{\"a\": 6}\n",
                     "f", RowFormat::kJsonLines);
  ASSERT_EQ(read.rows.rows.size(), 3u);
  EXPECT_EQ(read.rows.rows[1].columns["a"], 3);
  EXPECT_EQ(read.rows.rows[1].number, 4);
  EXPECT_EQ(read.rows.rows[1].line, 4);
  EXPECT_EQ(read.rows.rows[2].columns["a"], 6);
  ASSERT_EQ(read.faults.size(), 4u);
  EXPECT_THAT(read.faults[0].what, HasSubstr("expected an object with the row's columns, got a number"));
  EXPECT_THAT(read.faults[1].what, HasSubstr("f row 3: line 4, column 1"));
  EXPECT_THAT(read.faults[2].what, HasSubstr("byte 0xFF is not valid UTF-8"));
  EXPECT_EQ(read.faults[2].line, 5);
  EXPECT_THAT(read.faults[3].what, HasSubstr("duplicate key"));
}

}  // namespace
}  // namespace candor::data
