#include "cli/audit_page.h"

#include <vector>

#include "cli/page.h"

namespace candor::cli {

namespace {

std::string text_of(const nlohmann::ordered_json& data, const char* key, const char* otherwise) {
  const auto found = data.is_object() ? data.find(key) : data.end();
  return html_escaped(found != data.end() && found->is_string() ? found->get<std::string>() : otherwise);
}

}  // namespace

std::string audit_page(const nlohmann::ordered_json& data) {
  const std::vector<EmbeddedFile> scripts{kPageJs, kAuditJs};
  const std::string policy = content_security_policy(scripts, kReportCss), json = script_json(data),
                    title = text_of(data, "name", "audit"), verdict = text_of(data, "sentence", "A belief audit.");
  return filled(kAuditHtml.text, {{"policy", policy},
                                  {"title", title},
                                  {"verdict", verdict},
                                  {"style", kReportCss.text},
                                  {"data", json},
                                  {"page", kPageJs.text},
                                  {"script", kAuditJs.text}});
}

}  // namespace candor::cli
