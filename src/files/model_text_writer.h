// The text side of a written model directory (model_writer.h).
#pragma once

#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "files/model_files.h"

namespace candor::files {

// Of a Hugging Face source: its files of tokenizer, chat template and generation, copied. Of a GGUF source: the same
// made from its metadata; a tokenizer that this version does not know (ModelFiles::no_tokenizer) is left out. Error: a
// file cannot be read.
Result<std::vector<NamedContent>> text_files(const ModelFiles& source);

}  // namespace candor::files
