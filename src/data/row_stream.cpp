#include "data/row_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <sstream>
#include <utility>

#include "data/compression.h"
#include "data/json_reader.h"

namespace candor::data {
namespace {

// Finds where objects end without parsing them: braces and brackets outside strings.
class ObjectEnds {
 public:
  // Looks at what came behind the last call's end. The place behind the line in which the `count`th object ends, or 0
  // while there are fewer. (Whole lines, so that a fault's column is that in the file.)
  size_t behind(std::string_view bytes, size_t count) {
    for (; at_ < bytes.size(); ++at_) {
      const char c = bytes[at_];
      if (in_string_) {
        if (escaped_)
          escaped_ = false;
        else if (c == '\\')
          escaped_ = true;
        else if (c == '"')
          in_string_ = false;
      } else if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if (c == '}' || c == ']') {
        if (--depth_ <= 0) ++ends_;
      } else if (c == '\n' && depth_ <= 0 && ends_ >= count) {
        return ++at_;
      }
    }
    return 0;
  }

 private:
  size_t at_ = 0, ends_ = 0;
  int64_t depth_ = 0;
  bool in_string_ = false, escaped_ = false;
};

bool is_json_lines(std::filesystem::path path) {
  const std::string extension = path.extension().string();
  return path == "-" || extension.empty() || extension == ".jsonl" || extension == ".ndjson" || extension == ".json";
}

}  // namespace

Result<RowStream> RowStream::open(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!is_json_lines(path) || std::filesystem::is_directory(path, ignored))
    return RowStream(path.string(), TRY(read_rows(path)));
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return error("{}: cannot be opened: {}.", path.string(), std::strerror(errno));
  }
  RowStream stream(path == "-" ? "standard input" : path.string(), std::move(file));
  size_t first = std::string::npos;
  while (first == std::string::npos && stream.read_more())
    first = stream.buffer_.find_first_not_of(" \t\r\n", stream.buffer_.starts_with("\xEF\xBB\xBF") ? 3 : 0);
  const bool array = first != std::string::npos && stream.buffer_[first] == '[';
  if (!array && compression_of(stream.buffer_) == Compression::kNone) return stream;
  while (stream.read_more()) {
  }
  std::istringstream bytes(std::move(stream.buffer_));
  Rows rows = TRY(read_rows(bytes, stream.name_));
  return RowStream(std::move(stream.name_), std::move(rows));
}

std::istream& RowStream::input() {
  return file_.is_open() ? static_cast<std::istream&>(file_) : std::cin;
}

bool RowStream::read_more() {
  std::array<char, 65536> chunk;
  if (ended_) return false;
  input().read(chunk.data(), chunk.size());
  buffer_.append(chunk.data(), static_cast<size_t>(input().gcount()));
  ended_ = input().gcount() == 0;
  return !ended_;
}

Result<Rows> RowStream::next(size_t count) {
  Rows rows{name_, {}};
  if (!streams_) {
    const size_t last = std::min(whole_.rows.size(), given_ + count);
    for (; given_ < last; ++given_) rows.rows.push_back(std::move(whole_.rows[given_]));
    return rows;
  }
  ObjectEnds ends;
  size_t end = 0;
  while ((end = ends.behind(buffer_, count)) == 0 && read_more()) {
  }
  if (end == 0) end = buffer_.size();
  if (input().bad()) return error("{}: reading failed: {}", name_, std::strerror(errno));
  const std::string_view bytes = std::string_view(buffer_).substr(0, end);
  JsonReader reader(bytes, lines_ + 1);
  while (!reader.at_end())
    rows.rows.push_back(TRY(read_json_row(reader, name_, rows_ + 1 + static_cast<int64_t>(rows.rows.size()))));
  rows_ += static_cast<int64_t>(rows.rows.size());
  lines_ += std::count(bytes.begin(), bytes.end(), '\n');
  buffer_.erase(0, end);
  if (rows_ == 0) return error("{}: the file holds no rows. Expected one JSON object per line.", name_);
  return rows;
}

}  // namespace candor::data
