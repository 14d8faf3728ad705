#include "cli/report.h"

#include <fmt/format.h>

#include <vector>

#include "cli/embedded.h"

namespace candor::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string text_at(const Json& data, std::string_view object, std::string_view key) {
  const auto outer = data.find(object);
  if (outer == data.end() || !outer->is_object()) return "";
  const auto inner = outer->find(key);
  return inner != outer->end() && inner->is_string() ? inner->get<std::string>() : "";
}

}  // namespace

std::string report_page(const Json& data) {
  const auto name = data.find("name");
  const std::string title = html_escaped(name != data.end() && name->is_string() ? name->get<std::string>() : "run");
  const std::string verdict = html_escaped(text_at(data, "summary", "verdict"));
  const std::vector<EmbeddedFile> scripts{kChartJs, kPageJs, kGuardJs, kReportJs};
  const std::string policy = content_security_policy(scripts, kReportCss), json = script_json(data);
  return filled(kReportHtml.text, {{"policy", policy},
                                   {"title", title},
                                   {"verdict", verdict},
                                   {"style", kReportCss.text},
                                   {"data", json},
                                   {"chart", kChartJs.text},
                                   {"page", kPageJs.text},
                                   {"guard", kGuardJs.text},
                                   {"script", kReportJs.text}});
}

Result<std::filesystem::path> write_report(const std::filesystem::path& run) {
  const Json data = TRY(read_run(run));
  const std::filesystem::path path = run / "report.html";
  TRY(write_page(path, report_page(data)));
  return path;
}

}  // namespace candor::cli
