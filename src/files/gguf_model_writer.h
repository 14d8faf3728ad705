// A model as a GGUF file: its metadata and tensors as llama.cpp and Transformers read them.
//
// Of a GGUF source the metadata stays as it is, byte for byte, but for what names the types of the tensors. Of a
// Hugging Face directory it is made new: general.*, FAMILY.* and tokenizer.ggml.* (byte-level BPE).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "files/model_files.h"
#include "files/weight_names.h"

namespace candor::files {

// What most matrices are, as llama.cpp numbers files: the type's name to general.file_type. Types of mixed files and
// unknown ones are 1024, "guessed".
uint32_t gguf_file_type(std::string_view type);

// `type`: of most matrices. Error: a tokenizer or a rope that a GGUF file cannot hold (named). A source without any
// tokenizer file gets none.
Result<std::vector<GgufEntry>> gguf_metadata(const ModelFiles& source, std::string_view type);

// Rows [begin, end) of a weight in Hugging Face's order, each the bytes of one row, one after another.
using EncodeRows = std::function<Result<std::string>(int64_t begin, int64_t end)>;

// A tensor of the file, its rows in GGUF's order (those of q and k permuted). A vector is one row.
GgufTensorSource gguf_tensor(const ExpectedWeight& weight, const GgufBlockType& type, int64_t head_dim,
                             EncodeRows encode);

// The tensor rope_freqs.weight, where the model's rope needs one.
std::vector<GgufTensorSource> rope_tensors(const ModelConfig& config);

}  // namespace candor::files
