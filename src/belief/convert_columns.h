// The columns of the rows that are converted: their values as the source writes them, with errors that name the row.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "data/rows.h"

namespace candor::belief {

// Text that is not empty.
Result<std::string> text_column(const data::Rows& rows, const data::Row& row, const char* name);

// 1 or 0, true or false, as text or not.
Result<bool> label_column(const data::Rows& rows, const data::Row& row, const char* name);

Result<int64_t> integer_column(const data::Rows& rows, const data::Row& row, const char* name);

}  // namespace candor::belief
