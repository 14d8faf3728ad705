#include "cli/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

namespace candor::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

size_t count(std::string_view text, std::string_view what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

class ReportTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(run_); }
  void TearDown() override { std::filesystem::remove_all(run_); }
  void write(const std::string& name, const std::string& text) { std::ofstream(run_ / name, std::ios::binary) << text; }
  std::string message() {
    const auto path = write_report(run_);
    return path ? "" : path.error().message;
  }
  std::string page() {
    const auto path = write_report(run_);
    EXPECT_TRUE(path) << path.error().message;
    std::ifstream in(run_ / "report.html", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  const std::filesystem::path run_ =
      std::filesystem::temp_directory_path() / ("candor_report_" + std::to_string(getpid()));
};

constexpr const char* kHostile = "</script><script>alert(1)</script><!-- & \"quoted\" {{style}} \x1b[31m";

TEST_F(ReportTest, StrangersTextCannotLeaveItsPlace) {
  write("metrics.jsonl", Json{{"step", 1}, {kHostile, 1.0}}.dump() + "\n");
  write("completions.jsonl", Json{{"step", 1}, {"prompt", kHostile}, {"completion", kHostile}, {"reward", 0.0}}.dump() +
                                 "\n" + "{\"step\": 2, \"completion\": \"no UTF-8: \xff\xc3\"}\n");
  write("summary.json", Json{{"verdict", kHostile}, {"samples", {{{"prompt", kHostile}}}}}.dump());
  write("recipe.yaml", kHostile);
  const std::string html = page();
  EXPECT_EQ(count(html, "<script"), 5u);  // the data, Chart.js, the page's own three
  EXPECT_EQ(count(html, "</script"), 5u);
  EXPECT_EQ(count(html, "alert(1)</script>"), 0u);
  EXPECT_THAT(html, HasSubstr("<h1 id=\"verdict\">&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
  EXPECT_EQ(count(html, "{{style}}"), 7u);  // as text only: nothing inserted is filled in again
  EXPECT_EQ(count(html, "\x1b"), 0u);
  // The data block still is the data.
  const size_t begin = html.find("id=\"data\">") + 10;
  const Json data = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  EXPECT_EQ(data["completions"][0]["completion"], kHostile);
  EXPECT_EQ(data["recipe"], kHostile);
}

TEST_F(ReportTest, ThePolicyAdmitsNothingButItself) {
  write("metrics.jsonl", "{\"step\": 1}\n");
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("content=\"default-src 'none'; script-src 'sha256-"));
  EXPECT_THAT(html, Not(HasSubstr("unsafe")));
  EXPECT_EQ(count(html, "<link"), 0u);
  EXPECT_EQ(count(html, " src="), 0u);
}

TEST_F(ReportTest, EscapedTextOfHtml) {
  EXPECT_EQ(html_escaped("<a href='x'>\"&\"\n\x01"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;\n\xEF\xBF\xBD");
}

Json guard_row(int step) {
  return {{"step", step},         {"loss", 0.1},
          {"reward", 0.1 * step}, {"guard/length_correlation", 0.1},
          {"guard/alarms", 0},    {"guard/kl_exact", step},
          {"gold", 0.5},          {"rewards/a/mean", 0.5}};
}

TEST_F(ReportTest, ARunWithoutAGuardHasNoSectionOfIt) {
  write("metrics.jsonl", "{\"step\": 1, \"reward\": 0.5}\n");
  const auto data = read_run(run_);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_FALSE(data->contains("guard"));
}

TEST_F(ReportTest, TheGuardsPartHasItsLooksAndTheSuspects) {
  std::string metrics, completions;
  for (int step = 1; step <= 3; ++step) {
    metrics += guard_row(step).dump() + "\n";
    for (int row = 0; row < 8; ++row) {
      const bool hack = step == 3 && row == 5;
      const bool right = row % 2 == 0;
      completions += Json{{"step", step},
                          {"prompt", row < 4 ? "p" : kHostile},
                          {"completion", hack ? kHostile : "fine " + std::to_string(row)},
                          {"reward", hack || right ? 1.0 : 0.0},
                          {"gold", !hack && right ? 1.0 : 0.0}}
                         .dump() +
                     "\n";
    }
  }
  write("metrics.jsonl", metrics);
  write("completions.jsonl", completions);
  auto data = read_run(run_);
  ASSERT_TRUE(data) << data.error().message;
  const Json guard = (*data)["guard"];
  EXPECT_EQ(guard["verdict"], "healthy");
  ASSERT_EQ(guard["looks"].size(), 3u);
  EXPECT_EQ(guard["looks"][2]["d"], std::sqrt(3.0));
  EXPECT_EQ(guard["looks"][0]["proxy"], 0.1);
  ASSERT_EQ(guard["suspects"].size(), 1u);
  EXPECT_EQ(guard["suspects"][0]["suspect"]["completion"], kHostile);
  EXPECT_EQ(guard["suspects"][0]["honest"]["step"], 3);
  EXPECT_EQ(guard["suspects"][0]["honest"]["prompt"], kHostile);  // of the same prompt
  EXPECT_EQ(count(page(), "alert(1)</script>"), 0u);
  // A step in which nothing is honest.
  std::string more;
  for (int row = 0; row < 4; ++row)
    more += Json{{"step", 9}, {"prompt", "p"}, {"completion", "x"}, {"reward", 5.0}, {"gold", 0.0}}.dump() + "\n";
  write("completions.jsonl", completions + more);
  data = read_run(run_);
  ASSERT_TRUE(data);
  EXPECT_EQ((*data)["guard"]["suspects"][0]["suspect"]["step"], 9);
  EXPECT_TRUE((*data)["guard"]["suspects"][0]["honest"].is_null());
  // What the run itself said comes before a replay of it, which knows no checkpoint.
  write("summary.json", R"({"guard": {"verdict": "stopped", "sentence": "At step 2 …", "alarms": []}})");
  data = read_run(run_);
  ASSERT_TRUE(data);
  EXPECT_EQ((*data)["guard"]["verdict"], "stopped");
  EXPECT_EQ((*data)["guard"]["looks"].size(), 3u);
}

TEST_F(ReportTest, WithoutAHeldOutRewardTheLongAndRepetitiveAreSuspects) {
  write("metrics.jsonl", guard_row(1).dump() + "\n");
  std::string completions;
  for (int row = 0; row < 40; ++row)
    completions +=
        Json{{"step", 1},
             {"prompt", "p"},
             {"completion", row == 3 || row == 7 ? std::string(4000 + row, 'a') : "an answer of usual length"},
             {"reward", row == 7 || row < 2 ? 1.0 : 0.0}}
            .dump() +
        "\n";
  write("completions.jsonl", completions);
  const auto data = read_run(run_);
  ASSERT_TRUE(data);
  const Json& suspects = (*data)["guard"]["suspects"];
  ASSERT_EQ(suspects.size(), 1u);
  EXPECT_EQ(suspects[0]["suspect"]["characters"], 4007);  // the other one was not paid
  EXPECT_EQ(suspects[0]["honest"]["completion"], "an answer of usual length");
}

TEST_F(ReportTest, WhatIsNoRunIsNamed) {
  EXPECT_EQ(message(),
            "[report] " + run_.string() + " holds no run: metrics.jsonl is not there. Give the output_dir of a run.");
  EXPECT_EQ(write_report("/no/such").error().message,
            "[report] /no/such is not a folder. Give the output_dir of a run.");
  write("metrics.jsonl", "{\"step\": 1}\n[2]\n");
  EXPECT_EQ(message(), "[report] " + (run_ / "metrics.jsonl").string() + ":2: expected a JSON object.");
  write("metrics.jsonl", "{\"step\": " + std::string(100000, '[') + "\n");
  EXPECT_EQ(message(), "[report] " + (run_ / "metrics.jsonl").string() + ":1: expected a JSON object.");
  write("metrics.jsonl", "{\"step\": 1}\n");
  write("summary.json", "{\"a\": " + std::string(100000, '[') + std::string(100000, ']') + "}");
  EXPECT_EQ(message(), "[report] " + (run_ / "summary.json").string() + " is not a JSON object.");
}

TEST_F(ReportTest, AKilledRunStillHasAPage) {
  write("metrics.jsonl", "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3, \"rew");
  const auto data = read_run(run_);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ((*data)["metrics"].size(), 2u);
  EXPECT_TRUE((*data)["summary"].is_null());
  EXPECT_EQ((*data)["name"], run_.filename().string());
  EXPECT_EQ(message(), "");
}

TEST_F(ReportTest, LongRunsAreThinnedAndLongTextsCut) {
  std::string metrics, completions;
  for (int step = 1; step <= 2100; ++step) {
    metrics += Json{{"step", step}}.dump() + "\n";
    for (int row = 0; row < 9 && (step == 1 || step % 50 == 0); ++row)
      completions +=
          Json{{"step", step}, {"completion", std::string(step == 1 ? 3999 : 5, 'x') + "한글"}}.dump() + "\n";
  }
  write("metrics.jsonl", metrics);
  write("completions.jsonl", completions);
  const auto data = read_run(run_);
  ASSERT_TRUE(data) << data.error().message;
  const Json& rows = (*data)["metrics"];
  EXPECT_LE(rows.size(), 2000u);
  EXPECT_EQ(rows.front()["step"], 1);
  EXPECT_EQ(rows.back()["step"], 2100);
  EXPECT_LE((*data)["completions"].size(), 24u * 8);
  EXPECT_EQ((*data)["completions"].back()["step"], 2100);
  EXPECT_EQ((*data)["rows"]["completions"], 43 * 9);
  EXPECT_EQ((*data)["completions"][0]["completion"], std::string(3999, 'x') + " […]");  // no half character
}

}  // namespace
}  // namespace candor::cli
