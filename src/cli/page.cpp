#include "cli/page.h"

#include <fmt/format.h>

#include <fstream>

#include "base/check.h"

namespace candor::cli {

using Json = nlohmann::ordered_json;

std::string content_security_policy(std::span<const EmbeddedFile> scripts, const EmbeddedFile& style) {
  std::string sources;
  for (const EmbeddedFile& script : scripts) sources += fmt::format(" 'sha256-{}'", script.sha256);
  return fmt::format("default-src 'none'; script-src{}; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
                     sources, style.sha256);
}

std::string filled(std::string_view page, const std::map<std::string_view, std::string_view>& parts) {
  std::string out;
  while (true) {
    const size_t begin = page.find("{{");
    if (begin == std::string_view::npos) return out += page;
    const size_t end = page.find("}}", begin);
    CHECK(end != std::string_view::npos);
    const auto part = parts.find(page.substr(begin + 2, end - begin - 2));
    CHECK(part != parts.end());
    out += page.substr(0, begin);
    out += part->second;
    page.remove_prefix(end + 2);
  }
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

std::string script_json(const Json& data) {
  const std::string json = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(json.size());
  // <, > and & occur in JSON only inside strings, where \u escapes mean the same.
  for (const char c : json)
    if (c == '<' || c == '>' || c == '&')
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  return out;
}

Result<void> write_page(const std::filesystem::path& path, std::string_view page) {
  std::filesystem::path part = path;
  part += ".part";
  {
    std::ofstream out(part, std::ios::binary);
    out << page << std::flush;
    if (!out) return error("[report] {} cannot be written. Is the disk full, or the folder read-only?", part.string());
  }
  std::error_code failure;
  std::filesystem::rename(part, path, failure);
  if (failure)
    return error("[report] {} cannot be renamed to {}: {}.", part.string(), path.filename().string(),
                 failure.message());
  return {};
}

}  // namespace candor::cli
