#include "data/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

namespace candor::data {

bool is_gzip(std::string_view bytes) {
  return bytes.substr(0, 2) == "\x1f\x8b";
}

Result<std::string> gunzip(std::string_view bytes) {
  const size_t limit = bytes.size() * 200 + (size_t{64} << 20);
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return error("gzip: out of memory");
  std::string out;
  std::array<unsigned char, 65536> chunk;
  std::string_view rest = bytes;
  const char* fault = nullptr;
  while (fault == nullptr) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
    stream.avail_in = static_cast<uInt>(std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max()));
    const uInt given = stream.avail_in;
    stream.next_out = chunk.data();
    stream.avail_out = chunk.size();
    const int status = inflate(&stream, Z_NO_FLUSH);
    rest.remove_prefix(given - stream.avail_in);
    out.append(reinterpret_cast<const char*>(chunk.data()), chunk.size() - stream.avail_out);
    if (out.size() > limit) {
      fault = "gzip: unpacks to more than 200 times its size plus 64 MiB; unpack it yourself if that is meant";
    } else if (status == Z_STREAM_END) {
      if (rest.empty()) break;
      if (inflateReset(&stream) != Z_OK) fault = "gzip: damaged";
    } else if (status == Z_BUF_ERROR) {  // no progress was possible: the input is used up
      fault = "gzip: the file is cut off";
    } else if (status != Z_OK) {
      fault = "gzip: damaged";
    }
  }
  inflateEnd(&stream);
  if (fault != nullptr) return error("{}", fault);
  return out;
}

}  // namespace candor::data
