// What a path holds, told from its bytes: a GGUF file, a safetensors file, a model directory, a PEFT adapter, a run.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::cli {

// An object that opens with "path", "kind" and "bytes". A model that is read but not supported has its reason under
// "not_supported". Error: nothing is there, it is none of these, or its bytes are broken.
Result<files::Json> inspect_path(const std::filesystem::path& path);

// The same as text for a screen: scalars by line, one level of headings, strangers' text made printable.
std::string facts_text(const files::Json& facts);

}  // namespace candor::cli
