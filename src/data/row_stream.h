// Rows of a file a few at a time, so that a file of JSON lines of any length takes little memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <istream>
#include <string>
#include <utility>

#include "data/rows.h"

namespace candor::data {

class RowStream {
 public:
  // The files of read_rows. JSON lines are read as they are asked for; an array, CSV and packed files as a whole. "-"
  // is standard input.
  static Result<RowStream> open(const std::filesystem::path& path);

  static RowStream of(Rows rows) { return RowStream(rows.name, std::move(rows)); }

  // The next `count` rows (more where a line holds several) or what is left of them; none at the end. Errors as of
  // read_rows, each where it stands: rows before it have been given out. A file without any row is an error.
  Result<Rows> next(size_t count);

  const std::string& name() const { return name_; }

 private:
  RowStream(std::string name, Rows whole) : name_(std::move(name)), whole_(std::move(whole)) {}
  RowStream(std::string name, std::ifstream file) : name_(std::move(name)), file_(std::move(file)), streams_(true) {}

  std::istream& input();
  bool read_more();  // false at the end

  std::string name_;
  Rows whole_;          // what was read at once …
  size_t given_ = 0;    // … and how much of it is gone
  std::ifstream file_;  // closed: standard input
  bool streams_ = false, ended_ = false;
  std::string buffer_;  // read and not yet given out
  int64_t rows_ = 0, lines_ = 0;
};

}  // namespace candor::data
