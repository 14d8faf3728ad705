// Decoders: tokens back to bytes.
#pragma once

#include <string>
#include <string_view>

namespace candor::text {

enum class Decoder {
  kByteLevel,       // each token through the byte alphabet
  kJoinWithSpaces,  // no decoder in the file: token texts with a space between
};

}  // namespace candor::text
