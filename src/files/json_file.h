// Strangers' JSON: parsed with a bound on size and nesting, an error instead of an exception.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/chat_template.h"

namespace candor::files {

using text::Json;  // keeps the order of keys

// `name` names the file in messages. Error: no JSON, no UTF-8, nested deeper than 64.
Result<Json> parse_json(std::string_view text, const std::string& name);

// Error: as above, or the file cannot be read or holds more than `max_bytes`.
Result<Json> read_json_file(const std::filesystem::path& path, uint64_t max_bytes = 64 << 20);

}  // namespace candor::files
