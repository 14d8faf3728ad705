// What a file of rows is, by its name.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "data/compression.h"

namespace candor::data {

enum class RowFormat { kJsonLines, kJsonArray, kCsv };

struct FileKind {
  RowFormat format = RowFormat::kJsonLines;
  Compression compression = Compression::kNone;
};

// .jsonl, .ndjson or no extension: JSON lines; .json: an array; .csv. Each with or without .gz or .zst behind it, and
// "-" is plain JSON lines. Reading does not ask which of the two JSON formats it is, nor how it is packed: the bytes
// say that. Error: another extension.
Result<FileKind> file_kind(const std::filesystem::path& path);

}  // namespace candor::data
