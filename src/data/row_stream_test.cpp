#include "data/row_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/scratch.h"

namespace candor::data {
namespace {

using candor::testing::ScratchFolder;
using ::testing::HasSubstr;

// What a file gives, `count` rows at a time, against read_rows; the error of either where there is one.
void expect_as_read_rows(const std::filesystem::path& path, size_t count) {
  const auto whole = read_rows(path);
  auto stream = RowStream::open(path);
  std::vector<Row> rows;
  std::string fault = stream ? "" : stream.error().message;
  while (fault.empty()) {
    auto part = stream->next(count);
    if (!part) fault = part.error().message;
    if (!part || part->rows.empty()) break;
    EXPECT_LE(part->rows.size(), count + 1);  // two stand in one line
    EXPECT_EQ(part->name, path.string());
    for (Row& row : part->rows) rows.push_back(std::move(row));
  }
  EXPECT_EQ(fault, whole ? "" : whole.error().message) << path << " " << count;
  if (!whole) return;
  ASSERT_EQ(rows.size(), whole->rows.size()) << path << " " << count;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].columns, whole->rows[i].columns);
    EXPECT_EQ(rows[i].number, whole->rows[i].number);
    EXPECT_EQ(rows[i].line, whole->rows[i].line);
  }
}

TEST(RowStream, GivesTheRowsOfTheWholeFile) {
  ScratchFolder folder;
  std::string many;
  for (int i = 0; i < 5000; ++i)
    many += "{\"n\": " + std::to_string(i) + ", \"text\": \"a } \\\" ] { [ \\\\\"}\n" + (i % 7 == 0 ? "\n" : "");
  folder.write("many.jsonl", many);  // several reads
  folder.write("lines.json", "\n{\"a\":1}\n\n{\n\"a\":2}\n{\"a\":{\"b\":[{}]}}   {\"a\":4}");
  folder.write("array.json", "  [{\"a\":1}, {\"a\":2},\n{\"a\":3}]\n");
  folder.write("rows.csv", "a,b\n1,2\n3,4\n");
  folder.write("mark.jsonl", "\xEF\xBB\xBF{\"a\":1}\n{\"a\":2}\n");
  folder.write("mark_array.json", "\xEF\xBB\xBF[{\"a\":1}]");
  for (const char* name : {"many.jsonl", "lines.json", "array.json", "rows.csv", "mark.jsonl", "mark_array.json"})
    for (size_t count : {1, 2, 3, 100000}) {
      if (count == 1 && std::string(name) == "many.jsonl") count = 700;
      expect_as_read_rows(folder / name, count);
    }
}

TEST(RowStream, FaultsAreNamedAsOfTheWholeFile) {
  ScratchFolder folder;
  folder.write("empty.jsonl", " \n \n");
  folder.write("list.jsonl", "{\"a\":1}\n{\"a\":2}\n[3]\n");
  folder.write("cut.jsonl", "{\"a\":1}\n\n{\"a\":2,\n");
  folder.write("closed.jsonl", "{\"a\":1}}\n{\"a\":2}\n");
  folder.write("twice.jsonl", "{\"a\":1}\n{\"a\":1,\n\"a\":2}\n");
  folder.write("string.jsonl", "{\"a\":1}\n{\"a\":\"x}\n{\"a\":2}\n");
  for (const char* name :
       {"empty.jsonl", "list.jsonl", "cut.jsonl", "closed.jsonl", "twice.jsonl", "string.jsonl", "none.jsonl", "x.txt"})
    for (size_t count : {1, 2, 100}) expect_as_read_rows(folder / name, count);
}

TEST(RowStream, RowsBeforeAFaultAreGivenOut) {
  ScratchFolder folder;
  folder.write("a.jsonl", "{\"a\":1}\n{\"a\":2}\n7\n");
  auto stream = std::move(RowStream::open(folder / "a.jsonl")).value();
  EXPECT_EQ(stream.next(2)->rows.size(), 2u);
  EXPECT_THAT(stream.next(2).error().message, HasSubstr("row 3: line 3"));
}

}  // namespace
}  // namespace candor::data
