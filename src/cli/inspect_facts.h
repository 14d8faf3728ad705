// What a path holds, told from its bytes: a model directory or GGUF file, a safetensors file, a PEFT adapter, a
// checkpoint, a run, a tokenizer, rows of a dataset.
#pragma once

#include <filesystem>
#include <string>

#include "base/result.h"
#include "files/json_file.h"

namespace candor::cli {

// An object that opens with "path", "kind" ("huggingface", "gguf", "safetensors", "peft_adapter", "checkpoint", "run",
// "tokenizer", "dataset") and "bytes". What is read but not supported has its reason under "not_supported". Error:
// nothing is there, it is none of these, or its bytes are broken.
Result<files::Json> inspect_path(const std::filesystem::path& path);

// The same for a screen of 40 lines and 100 columns: what it is, what it was made from, how to use it next. Strangers'
// text is made printable.
std::string facts_text(const files::Json& facts);

}  // namespace candor::cli
