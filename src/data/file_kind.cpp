#include "data/file_kind.h"

namespace candor::data {

Result<FileKind> file_kind(const std::filesystem::path& path) {
  FileKind kind;
  std::filesystem::path name = path;
  if (name.extension() == ".gz") kind.compression = Compression::kGzip;
  if (name.extension() == ".zst") kind.compression = Compression::kZstd;
  if (kind.compression != Compression::kNone) name.replace_extension();
  const std::string extension = name.extension().string();
  if (extension == ".csv") {
    kind.format = RowFormat::kCsv;
  } else if (extension == ".json") {
    kind.format = RowFormat::kJsonArray;
  } else if (extension != "" && extension != ".jsonl" && extension != ".ndjson") {
    return error("{}: unknown extension \"{}\". Expected .jsonl, .json, .ndjson or .csv, with or without .gz or .zst.",
                 path.string(), extension);
  }
  return kind;
}

}  // namespace candor::data
