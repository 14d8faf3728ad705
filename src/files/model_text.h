// The text side of a model on disk: tokenizer, chat template, special tokens.
//
// None of it is needed to compute with token ids, so what cannot be read is no reason to refuse the model: the field
// stays empty and the reason is kept for whoever asks for text.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "files/gguf.h"
#include "files/model_files.h"

namespace candor::files {

// Fills tokenizer, chat_template, special_tokens and the two reasons of `model`, whose config is known.
void attach_text(const std::filesystem::path& directory, ModelFiles& model);
void attach_text(const GgufFile& file, ModelFiles& model);

// The source of a directory's chat template. Error: there is none, or a file that cannot be read.
Result<std::string> chat_template_source(const std::filesystem::path& directory);

// The tokenizer.ggml.* keys of a GGUF file. Error: it holds no tokenizer, or a key of another kind.
Result<text::GgufVocabulary> vocabulary_of(const GgufFile& file);

}  // namespace candor::files
