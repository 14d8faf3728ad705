// A model as it lies on disk: a Hugging Face directory or a GGUF file, behind one door.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/gguf_blocks.h"
#include "files/model_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace candor::files {

// A weight under its Hugging Face name (GGUF's are translated), e.g. "model.layers.0.self_attn.q_proj.weight".
struct WeightInfo {
  std::string name;
  std::string type;            // as stored: "F32", "F16", "BF16", "Q8_0", "Q4_K", …
  std::vector<int64_t> shape;  // outermost first: [out, in]
};

// The weights of a model, read row by row, from any thread, so that the caller can pack them without a second full
// copy. Nothing is mapped (base/input_file.h), so there are no pages to drop afterwards.
class WeightReader {
 public:
  virtual ~WeightReader() = default;
  virtual const std::vector<WeightInfo>& weights() const = 0;
  const WeightInfo* find(std::string_view name) const;

  // Rows [begin, end) of a matrix, or elements [begin, end) of a vector, widened to float32, in Hugging Face row order
  // (llama.cpp's q/k permutation undone). out has (end - begin)·row_size floats. The weight must exist and the range be
  // inside it (CHECK). Error: a value that is NaN or infinite (names file, weight and row).
  virtual Result<void> read_rows(std::string_view name, int64_t begin, int64_t end, float* out) const = 0;

  // The same rows of a matrix that is stored in quantized blocks, as they are; bytes as the type says (gguf_blocks.h).
  // nullptr from block_type(): it is stored otherwise. The blocks' numbers are not looked at.
  virtual const GgufBlockType* block_type(std::string_view name) const;
  virtual Result<void> read_blocks(std::string_view name, int64_t begin, int64_t end, uint8_t* raw) const;
};

struct ModelFiles {
  std::filesystem::path path;
  std::string format;  // "gguf" or "safetensors"
  ModelConfig config;
  std::unique_ptr<WeightReader> weights;             // every weight the config needs, with the right shape (checked)
  std::optional<text::Tokenizer> tokenizer;          // empty: `no_tokenizer` says why
  std::optional<text::ChatTemplate> chat_template;   // empty: `no_chat_template` says why
  std::string no_tokenizer, no_chat_template;        // one sentence each, naming the file
  text::Json special_tokens = text::Json::object();  // bos_token, eos_token, … as text, for the chat template
};

// Opens a Hugging Face directory or a .gguf file. Nothing large is read yet.
Result<ModelFiles> open_model(const std::filesystem::path& path);

// What a user may write as MODEL: a path, "hub:OWNER/NAME" (the Hugging Face cache, HF_HOME respected), or the name of
// a bundled model ("smollm2", below $CANDOR_CACHE or ~/.cache/candor; "tiny", the project's own, beside the program).
// Error: says what was tried and how to get it.
Result<std::filesystem::path> resolve_model(const std::string& name);

}  // namespace candor::files
