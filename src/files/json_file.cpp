#include "files/json_file.h"

#include "base/input_file.h"

namespace candor::files {

namespace {

constexpr int kDeepest = 64;

// Brackets open at once, counted without parsing: a parser that meets them may already have recursed.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& name) {
  if (too_deep(text)) return error("[{}] holds JSON nested deeper than {} levels.", name, kDeepest);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& failure) {
    return error("[{}] is not valid JSON: wrong near byte {} of {}.", name, failure.byte, text.size());
  } catch (const Json::exception&) {  // a number beyond double
    return error("[{}] is not valid JSON: it holds a number that does not fit.", name);
  }
}

Result<Json> read_json_file(const std::filesystem::path& path, uint64_t max_bytes) {
  return parse_json(TRY(read_file(path, max_bytes)), path.string());
}

}  // namespace candor::files
