// Writes a model as a Hugging Face directory: what `candor merge`, full fine-tuning and pretraining save.
//
//   model.safetensors (or shards and model.safetensors.index.json), config.json, and the text side: tokenizer.json,
//   tokenizer_config.json, special_tokens_map.json, generation_config.json, chat template.
//
// Of a Hugging Face source, all but config.json's dtype (and tie_word_embeddings, where a head of its own is written)
// stays as it is, byte for byte. Of a GGUF source the files are made from its metadata, in words that Transformers 4
// and 5 both read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "files/model_files.h"
#include "files/safetensors_writer.h"

namespace candor::files {

struct ModelWriteOptions {
  FloatType type = FloatType::kFloat32;
  int64_t max_shard_bytes = 5'000'000'000;  // of weights in one file; a single larger tensor gets a file of its own
  int64_t labels =
      0;  // above 0: a sequence classifier, with score.weight in the language head's place; 0: as the source
};

// The directory's files, each written when its content is called: to be handed to write_checkpoint with the recipe's
// own, or to write_folder_atomically. `weights` are all that the model needs (weight_names.h), in any order, under
// Hugging Face's names; a "lm_head.weight" unties the head of a model whose head is tied. Of `source` only path, format
// and config are used; it and what the weights read from must outlive the answer. Error: a weight is missing, unknown
// or misshapen; the source's files cannot be read.
Result<std::vector<NamedContent>> model_directory_files(const ModelFiles& source,
                                                        const std::vector<TensorSource>& weights,
                                                        const ModelWriteOptions& options);

// The whole directory, there or not at all. Error: as above; something is at `path` (kRefuse); the disk has no room for
// the weights, which is looked at before anything is written; a value is not finite or `options.type` cannot hold it.
Result<void> write_model_directory(const std::filesystem::path& path, const ModelFiles& source,
                                   const std::vector<TensorSource>& weights, const ModelWriteOptions& options,
                                   IfThere if_there = IfThere::kRefuse);

// The source's own weights, to be handed on or replaced one by one.
std::vector<TensorSource> weight_sources(const WeightReader& weights);

}  // namespace candor::files
