#include "data/compression.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

namespace candor::data {
namespace {

constexpr int kGzipFormat = 15 + 16;  // zlib's window bits: the largest window, gzip's header
constexpr int kZstdLevel = 3;         // zstd's own default

size_t limit_of(std::string_view bytes) {
  return bytes.size() * 200 + (size_t{64} << 20);
}

std::string too_large(const char* format) {
  return fmt::format("{}: unpacks to more than 200 times its size plus 64 MiB; unpack it yourself if that is meant",
                     format);
}

Result<std::string> gunzip(std::string_view bytes) {
  const size_t limit = limit_of(bytes);
  z_stream stream{};
  if (inflateInit2(&stream, kGzipFormat) != Z_OK) return error("gzip: out of memory");
  std::string out;
  std::array<unsigned char, 65536> chunk;
  std::string_view rest = bytes;
  std::string fault;
  while (fault.empty()) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
    stream.avail_in = static_cast<uInt>(std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max()));
    const uInt given = stream.avail_in;
    stream.next_out = chunk.data();
    stream.avail_out = chunk.size();
    const int status = inflate(&stream, Z_NO_FLUSH);
    rest.remove_prefix(given - stream.avail_in);
    out.append(reinterpret_cast<const char*>(chunk.data()), chunk.size() - stream.avail_out);
    if (out.size() > limit) {
      fault = too_large("gzip");
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
  if (!fault.empty()) return error("{}", fault);
  return out;
}

Result<std::string> gzip(std::string_view bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipFormat, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return error("gzip: out of memory");
  std::string out;
  std::array<unsigned char, 65536> chunk;
  std::string_view rest = bytes;
  for (int status = Z_OK; status == Z_OK;) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
    stream.avail_in = static_cast<uInt>(std::min<size_t>(rest.size(), std::numeric_limits<uInt>::max()));
    const uInt given = stream.avail_in;
    stream.next_out = chunk.data();
    stream.avail_out = chunk.size();
    status = deflate(&stream, given == rest.size() ? Z_FINISH : Z_NO_FLUSH);
    rest.remove_prefix(given - stream.avail_in);
    out.append(reinterpret_cast<const char*>(chunk.data()), chunk.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  return out;
}

Result<std::string> unzstd(std::string_view bytes) {
  const size_t limit = limit_of(bytes);
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (context == nullptr) return error("zstd: out of memory");
  std::string out;
  std::array<char, 65536> chunk;
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (size_t status = 1; in.pos < in.size || status != 0;) {
    ZSTD_outBuffer to{chunk.data(), chunk.size(), 0};
    const size_t before = in.pos;
    status = ZSTD_decompressStream(context.get(), &to, &in);
    if (ZSTD_isError(status)) return error("zstd: damaged ({})", ZSTD_getErrorName(status));
    out.append(chunk.data(), to.pos);
    if (out.size() > limit) return error("{}", too_large("zstd"));
    if (status != 0 && in.pos == before && to.pos == 0) return error("zstd: the file is cut off");
  }
  return out;
}

Result<std::string> zstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), kZstdLevel);
  if (ZSTD_isError(size)) return error("zstd: {}", ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

}  // namespace

Compression compression_of(std::string_view bytes) {
  if (bytes.substr(0, 2) == "\x1f\x8b") return Compression::kGzip;
  if (bytes.substr(0, 4) == "\x28\xb5\x2f\xfd") return Compression::kZstd;
  return Compression::kNone;
}

Result<std::string> unpack(std::string bytes) {
  switch (compression_of(bytes)) {
    case Compression::kGzip:
      return gunzip(bytes);
    case Compression::kZstd:
      return unzstd(bytes);
    case Compression::kNone:
      break;
  }
  return bytes;
}

Result<std::string> pack_bytes(std::string bytes, Compression compression) {
  switch (compression) {
    case Compression::kGzip:
      return gzip(bytes);
    case Compression::kZstd:
      return zstd(bytes);
    case Compression::kNone:
      break;
  }
  return bytes;
}

}  // namespace candor::data
