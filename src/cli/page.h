// Pages that need nothing but themselves: templates of web/ filled in, with a content security policy that admits
// exactly the scripts and the style that CMake embedded.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/embedded.h"

namespace candor::cli {

std::string content_security_policy(std::span<const EmbeddedFile> scripts, const EmbeddedFile& style);

// Replaces each {{name}} of the template, in one pass, so that no inserted text is searched again. Every name has a
// part.
std::string filled(std::string_view page, const std::map<std::string_view, std::string_view>& parts);

// For text between tags or in a quoted attribute.
std::string html_escaped(std::string_view text);
// JSON that may stand inside <script type="application/json">.
std::string script_json(const nlohmann::ordered_json& data);

// The whole file or none.
Result<void> write_page(const std::filesystem::path& path, std::string_view page);

}  // namespace candor::cli
