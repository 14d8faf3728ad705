#include "cli/audit_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "belief/audit_json.h"
#include "belief/simulation.h"
#include "cli/embedded.h"

namespace candor::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

constexpr const char* kHostile = "</script><script>alert(1)</script><!-- & \"quoted\" {{style}} \x1b[31m";

size_t count(std::string_view text, std::string_view what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(AuditPage, StrangersTextCannotLeaveItsPlace) {
  const std::string html = audit_page({{"name", kHostile},
                                       {"sentence", kHostile},
                                       {"items", {{{"id", kHostile}, {"statement", kHostile}}}},
                                       {"notes", {kHostile}}});
  EXPECT_EQ(count(html, "<script"), 3u);  // the data and the page's own two
  EXPECT_EQ(count(html, "</script"), 3u);
  EXPECT_EQ(count(html, "alert(1)</script>"), 0u);
  EXPECT_EQ(count(html, "\x1b"), 0u);
  EXPECT_THAT(html, HasSubstr("<h1 id=\"verdict\">&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;"));
  const size_t begin = html.find("id=\"data\">") + 10;
  const Json data = Json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  EXPECT_EQ(data["items"][0]["statement"], kHostile);
}

TEST(AuditPage, ThePolicyAdmitsItsOwnScriptsAndNothingElse) {
  const std::string html = audit_page(Json::object());
  EXPECT_THAT(html, HasSubstr("script-src 'sha256-" + std::string(kPageJs.sha256) + "' 'sha256-" +
                              std::string(kAuditJs.sha256) + "'; style-src 'sha256-" + std::string(kReportCss.sha256) +
                              "'; base-uri 'none'"));
  EXPECT_THAT(html, HasSubstr("<script>" + std::string(kAuditJs.text) + "</script>"));
  EXPECT_THAT(html, Not(HasSubstr("unsafe")));
  EXPECT_EQ(count(html, "<link") + count(html, " src=") + count(html, "http://") - count(html, "http://www.w3.org"),
            0u);
  EXPECT_THAT(html, HasSubstr("<h1 id=\"verdict\">A belief audit.</h1>"));
}

// The page's script reads the names that audit_json writes: each that it asks of the data is there.
TEST(AuditPage, ReadsTheNamesThatAnAuditHas) {
  const belief::Simulation world = belief::simulate({.propositions = 40, .positives = 60, .negatives = 60});
  const belief::AuditResult result =
      belief::audit(world.propositions, world.answers, world.controls, {.resamples = 50});
  const Json json = belief::audit_json(result, world.propositions);
  const std::string_view script = kAuditJs.text;
  // What the verb adds.
  const std::vector<std::string> added{"comparison", "probes", "probe_layer", "probe_reading"};
  for (size_t at = script.find("data."); at != std::string_view::npos; at = script.find("data.", at + 1)) {
    if (at > 0 && script[at - 1] != '(' && script[at - 1] != ' ' && script[at - 1] != '{') continue;
    const size_t begin = at + 5, end = script.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", begin);
    const std::string name(script.substr(begin, end - begin));
    if (std::find(added.begin(), added.end(), name) == added.end()) {
      EXPECT_TRUE(json.contains(name)) << name;
    }
  }
}

}  // namespace
}  // namespace candor::cli
