#include "data/rows.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "support/oracle.h"

namespace candor::data {
namespace {

using text::Json;

std::string fault(std::string_view bytes) {
  const auto rows = parse_json_rows(bytes, "a.jsonl");
  return rows ? "read" : rows.error().message;
}

std::string csv_fault(std::string_view bytes) {
  const auto rows = parse_csv_rows(bytes, "a.csv");
  return rows ? "read" : rows.error().message;
}

std::string gzipped(std::string_view bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = bytes.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::filesystem::path written(const std::string& name, std::string_view bytes) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// load_dataset("json") on 25 odd files. Ours differs in two things on purpose: an absent column stays absent instead of
// null, and NaN is a double (the oracle's JSON spells it as a string).
TEST(ParseJsonRows, ReadsAndRefusesAsLoadDataset) {
  const auto path = testing::golden("text/trl_data/reading.json");
  CANDOR_REQUIRE_FILE(path);
  const Json cases = Json::parse(testing::read_text(path))["cases"];
  ASSERT_EQ(cases.size(), 25u);
  for (const Json& test : cases) {
    SCOPED_TRACE(test["name"].get<std::string>());
    const std::string bytes =
        test.contains("text") ? test["text"].get<std::string>() : from_hex(test["bytes_hex"].get<std::string>());
    const auto rows = parse_json_rows(bytes, "a.jsonl");
    EXPECT_EQ(rows.has_value(), !test.contains("error")) << (rows ? "" : rows.error().message);
    if (!rows || test.contains("error")) continue;
    ASSERT_EQ(rows->rows.size(), test["rows"].size());
    for (size_t i = 0; i < rows->rows.size(); ++i) {
      for (const auto& [column, expected] : test["rows"][i].items()) {
        const Json& columns = rows->rows[i].columns;
        const Json got = columns.contains(column) ? columns[column] : Json(nullptr);
        if (expected == "NaN") {
          EXPECT_TRUE(std::isnan(got.get<double>()));
        } else {
          EXPECT_EQ(got, expected) << column;
        }
      }
    }
  }
}

TEST(ParseJsonRows, EachFaultNamesFileRowAndPlace) {
  EXPECT_EQ(fault(""), "a.jsonl: the file holds no rows. Expected one JSON object per line.");
  EXPECT_EQ(fault("[]"), "a.jsonl: the file holds no rows. Expected one JSON object per line.");
  EXPECT_EQ(fault(" \n\n"), "a.jsonl: the file holds no rows. Expected one JSON object per line.");
  EXPECT_EQ(fault("{\"a\":1}\n{\"a\":\"x\\ud800y\"}\n"),
            "a.jsonl row 2: line 2, column 14: a lone surrogate, half a character");
  EXPECT_EQ(fault("{\"a\":1,\"a\":2}"),
            "a.jsonl row 1: line 1, column 11: duplicate key \"a\"; which of the two is meant?");
  EXPECT_EQ(fault("{\"a\":\"x\ty\"}"), "a.jsonl row 1: line 1, column 8: a tab inside a string; write it as \\t");
  EXPECT_EQ(fault("{\"a\":\"x\xff\"}"), "a.jsonl row 1: line 1, column 8: byte 0xFF is not valid UTF-8");
  EXPECT_EQ(
      fault("\n\n{\"a\":1}\n\"x\"\n"),
      "a.jsonl row 2: line 4: expected an object with the row's columns, got a string. Write e.g. {\"prompt\": …}.");
  EXPECT_EQ(fault("{\"a\":1},\n{\"a\":2}"), "a.jsonl row 2: line 1, column 8: this is not a JSON value");
  EXPECT_EQ(fault("{\"a\":1}\n{\"a\":2\n"), "a.jsonl row 2: line 3, column 1: the file ends inside an object");
  EXPECT_EQ(fault("{'a':1}"), "a.jsonl row 1: line 1, column 2: expected a key in double quotes");
  EXPECT_EQ(fault("[{\"a\":1} {\"a\":2}]"), "a.jsonl row 1: line 1, column 10: expected ',' or ']' after the row");
  EXPECT_EQ(fault("[{\"a\":1},]"), "a.jsonl row 2: line 1, column 10: this is not a JSON value");
  EXPECT_EQ(fault("[{\"a\":1}] x"), "a.jsonl: line 1, column 11: expected nothing after the array");
  EXPECT_EQ(fault("{\"a\":1e999}"), "a.jsonl row 1: line 1, column 11: this number does not fit into 64 bits");
}

TEST(ParseJsonRows, RefusesWhatIsNoJson) {
  for (const char* value : {"01",
                            "1.",
                            ".5",
                            "+1",
                            "-",
                            "1e",
                            "tru",
                            "nul",
                            "\"\\x\"",
                            "\"\\u12g4\"",
                            "\"\\u12\"",
                            "\"\\udc00\"",
                            "\"\\ud800\\u0041\"",
                            "\"\xc0\x80\"",
                            "\"\xed\xa0\x80\"",
                            "\"\xf4\x90\x80\x80\"",
                            "\"\xe2\x82\"",
                            "[1,]",
                            "[1 2]",
                            "{\"a\" 1}",
                            "{\"a\":}",
                            "{,}",
                            "\"a"}) {
    EXPECT_NE(fault("{\"x\":" + std::string(value) + "}"), "read") << value;
  }
}

TEST(ParseJsonRows, ReadsEveryKindOfValueInOrder) {
  const auto rows = *parse_json_rows(
      "{\"z\":-0,\"y\":1.5e3,\"x\":[true,false,null,{}],\"w\":\"\\\"\\\\\\/"
      "\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\",\"v\":-9223372036854775808,"
      "\"u\":18446744073709551615,\"t\":-Infinity}",
      "a.jsonl");
  const Json& columns = rows.rows[0].columns;
  EXPECT_EQ(columns.begin().key(), "z");
  EXPECT_EQ(columns["y"], 1500.0);
  EXPECT_EQ(columns["x"].dump(), "[true,false,null,{}]");
  EXPECT_EQ(columns["w"], "\"\\/\b\f\n\r\té😀");
  EXPECT_EQ(columns["v"].get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(columns["u"].get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(columns["t"].get<double>(), -std::numeric_limits<double>::infinity());
}

TEST(ParseJsonRows, RemembersRowAndLine) {
  const auto rows = *parse_json_rows("\n{\"a\":1}\n\n{\n\"a\":2}\n{\"a\":3}", "a.jsonl");
  ASSERT_EQ(rows.rows.size(), 3u);
  EXPECT_EQ(place("a.jsonl", rows.rows[0]), "a.jsonl row 1 (line 2)");
  EXPECT_EQ(place("a.jsonl", rows.rows[1]), "a.jsonl row 2 (line 4)");
  EXPECT_EQ(place("a.jsonl", rows.rows[2]), "a.jsonl row 3 (line 6)");
  EXPECT_EQ(place("b.jsonl", parse_json_rows("{}", "b")->rows[0]), "b.jsonl row 1");
}

TEST(ParseJsonRows, HostileFilesEndInAnErrorSoon) {
  EXPECT_EQ(fault("{\"a\":" + std::string(1'000'000, '[')),
            "a.jsonl row 1: line 1, column 106: nested deeper than 100 levels");
  std::string keys = "{\"k0\":0";
  for (int i = 1; i < 100'000; ++i) keys += ",\"k" + std::to_string(i) + "\":0";  // a second or two if it were a square
  EXPECT_EQ(fault(keys + "}"), "read");
  EXPECT_NE(fault(keys + ",\"k7\":0}").find("duplicate key \"k7\""), std::string::npos);
}

// Every prefix and every single-byte change of a valid file is read or refused, without a crash (run under ASan).
TEST(ParseJsonRows, SurvivesDamage) {
  const std::string whole = "{\"a\":\"x\\u00e9é\\ud83d\\ude00\",\"b\":[1,-2.5e-3,{\"c\":null}]}\n{\"a\":true}\n";
  for (size_t length = 0; length < whole.size(); ++length) fault(std::string(whole, 0, length));
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string changed = whole;
      changed[i] = static_cast<char>(byte);
      fault(changed);
      csv_fault(changed);
    }
  }
}

TEST(ParseCsvRows, ReadsQuotesLineBreaksAndNulls) {
  const auto rows =
      *parse_csv_rows("\xEF\xBB\xBFprompt,answer\r\n\"a, \"\"b\"\"\nc\",12\r\n\r\nplain,\n\"\",\"\"\n 5\" ,x", "a.csv");
  ASSERT_EQ(rows.rows.size(), 4u);
  EXPECT_EQ(rows.rows[0].columns, Json::parse(R"({"prompt": "a, \"b\"\nc", "answer": "12"})"));
  EXPECT_EQ(rows.rows[1].columns, Json::parse(R"({"prompt": "plain", "answer": null})"));
  EXPECT_EQ(rows.rows[2].columns, Json::parse(R"({"prompt": "", "answer": ""})"));
  EXPECT_EQ(rows.rows[3].columns, Json::parse(R"({"prompt": " 5\" ", "answer": "x"})"));
  EXPECT_EQ(rows.rows[1].line, 5);
}

TEST(ParseCsvRows, EachFaultNamesFileRowAndPlace) {
  EXPECT_EQ(csv_fault(""), "a.csv: the file is empty. Expected a header line and rows.");
  EXPECT_EQ(csv_fault("a,b\n"), "a.csv: there is a header but no row.");
  EXPECT_EQ(csv_fault("a,a\n1,2"), "a.csv header: duplicate column \"a\".");
  EXPECT_EQ(csv_fault("a,,b\n1,2,3"), "a.csv header: column 2 has no name.");
  EXPECT_EQ(csv_fault("a,b\n1,2\n1,2,3\n"),
            "a.csv row 2: line 3: expected 2 fields as in the header, got 3. Quote a field that holds a comma.");
  EXPECT_EQ(csv_fault("a\n\"x\n"), "a.csv row 1: line 3: the file ends inside a quoted field");
  EXPECT_EQ(csv_fault("a\n\"x\"y\n"),
            "a.csv row 1: line 2: expected a comma or the line's end after a quoted field; double a quote inside it");
  EXPECT_EQ(csv_fault("a\n\xff\n"), "a.csv row 1: line 2: byte 0xFF is not valid UTF-8");
}

TEST(ReadRows, FormatsByNameAndGzipByContent) {
  const std::string lines = "{\"a\":\"1\"}\n{\"a\":\"2\"}\n", csv = "a\n1\n2\n";
  const std::string array = "[{\"a\":\"1\"},\n{\"a\":\"2\"}]";
  for (const auto& [name, bytes] : {std::pair{"r.jsonl", lines}, std::pair{"r.json", array}, std::pair{"r.csv", csv},
                                    std::pair{"r.jsonl.gz", gzipped(lines)}, std::pair{"r.json.gz", gzipped(array)},
                                    std::pair{"r.csv.gz", gzipped(csv)}, std::pair{"r", lines},
                                    std::pair{"two.jsonl.gz", gzipped("{\"a\":\"1\"}") + gzipped("{\"a\":\"2\"}")}}) {
    SCOPED_TRACE(name);
    const auto rows = read_rows(written(name, bytes));
    ASSERT_TRUE(rows) << rows.error().message;
    ASSERT_EQ(rows->rows.size(), 2u);
    EXPECT_EQ(rows->rows[1].columns, Json::parse(R"({"a": "2"})"));
  }
}

TEST(ReadRows, ReadsAStream) {
  std::istringstream in("{\"a\":1}\n");
  EXPECT_EQ(read_rows(in, "standard input")->rows.size(), 1u);
  std::istringstream packed(gzipped("{\"a\":1}\n"));
  EXPECT_EQ(read_rows(packed, "standard input")->rows.size(), 1u);
}

TEST(ReadRows, EachFaultNamesTheFile) {
  const auto message = [](const std::filesystem::path& path) { return read_rows(path).error().message; };
  EXPECT_EQ(message("/nowhere/a.jsonl"), "/nowhere/a.jsonl: cannot be opened: No such file or directory.");
  EXPECT_EQ(message("/tmp/a.parquet"),
            "/tmp/a.parquet: unknown extension \".parquet\". Expected .jsonl, .json, .ndjson or .csv, with or without "
            ".gz or .zst.");
  EXPECT_EQ(message("/"), "/: this is a directory; name a file of rows.");
  const std::string packed = gzipped("{\"a\":1}\n");
  const auto cut = written("cut.jsonl.gz", packed.substr(0, packed.size() - 9));
  EXPECT_EQ(message(cut), cut.string() + ": gzip: the file is cut off");
  std::string damaged = packed;
  damaged[12] ^= 0x55;
  const auto broken = written("broken.jsonl.gz", damaged);
  EXPECT_EQ(message(broken).rfind(broken.string() + ": gzip: ", 0), 0u);
}

TEST(ReadRows, AGzipBombIsRefused) {
  const auto bomb = written("bomb.jsonl.gz", gzipped(std::string(100'000'000, ' ')));  // 1000 : 1
  EXPECT_NE(read_rows(bomb).error().message.find("more than 200 times its size"), std::string::npos);
}

}  // namespace
}  // namespace candor::data
