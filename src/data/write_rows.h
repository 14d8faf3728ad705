// Rows into a file, whole or not at all; what read_rows reads back.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "data/file_kind.h"
#include "data/rows.h"

namespace candor::data {

// A row as one line of JSON, without the line break: keys in their order, numbers in as many digits as read back the
// same, NaN and Infinity as Python writes them.
std::string json_line(const text::Json& columns);

// The bytes of a file of that kind. A column that a CSV row lacks is empty, and what is no text is written as JSON.
Result<std::string> format_rows(const Rows& rows, FileKind kind);

// Writes to a new file whose name says its kind (file_kind.h). Error: the file exists, the disk.
Result<void> write_rows(const Rows& rows, const std::filesystem::path& path);

// Whether `path` may be written: an error where something is there already, or its name says no kind.
Result<void> check_output(const std::filesystem::path& path);

}  // namespace candor::data
