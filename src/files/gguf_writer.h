// Writing GGUF (gguf.h has the format), version 3, aligned to 32 bytes, tensor by tensor, so that no copy of a model is
// made on the way to the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "files/gguf.h"

namespace candor::files {

// Entries of metadata. The type in the file is the argument's: llama.cpp wants sizes and ids as uint32, settings as
// float32.
GgufEntry gguf_entry(std::string key, uint32_t value);
GgufEntry gguf_entry(std::string key, float value);
GgufEntry gguf_entry(std::string key, bool value);
GgufEntry gguf_entry(std::string key, std::string_view value);
inline GgufEntry gguf_entry(std::string key, const char* value) {
  return gguf_entry(std::move(key), std::string_view(value));
}
GgufEntry gguf_array(std::string key, std::span<const std::string> items);
GgufEntry gguf_array(std::string key, std::span<const int32_t> items);
GgufEntry gguf_array(std::string key, std::span<const float> items);

// A tensor to be written: its bytes, in parts, front to back.
struct GgufTensorSource {
  std::string name;  // at most 63 bytes
  const GgufBlockType* type = nullptr;
  std::vector<int64_t> shape;  // outermost first; whole blocks along the last
  using Sink = std::function<Result<void>(std::string_view bytes)>;
  std::function<Result<void>(const Sink& sink)> write;

  uint64_t bytes() const;
};

// The whole file: header, entries (one of general.alignment is left out), tensors in the order given. Keys and names
// come once, and each tensor writes as many bytes as its shape asks for (CHECK). Error: a tensor's source fails; the
// disk is full.
Result<void> write_gguf(const std::vector<GgufEntry>& entries, const std::vector<GgufTensorSource>& tensors,
                        OutputFile& out);

// Bytes of that file.
uint64_t gguf_bytes(const std::vector<GgufEntry>& entries, const std::vector<GgufTensorSource>& tensors);

}  // namespace candor::files
