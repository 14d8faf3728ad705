// Packing and unpacking of gzip and zstd, with a bound on what a small file may grow to.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace candor::data {

enum class Compression { kNone, kGzip, kZstd };

Compression compression_of(std::string_view bytes);  // by its first bytes

// The bytes themselves where they are neither gzip nor zstd; all members or frames, one after another. Errors: damaged
// or cut off; more than 200 times its size plus 64 MiB.
Result<std::string> unpack(std::string bytes);

// The same bytes for the same input: no time or name is stored. Error: out of memory.
Result<std::string> pack_bytes(std::string bytes, Compression compression);

}  // namespace candor::data
