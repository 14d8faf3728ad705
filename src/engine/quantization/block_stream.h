// The calibration tokens on their way through a model, one decoder block at a time: what its linear layers read, and
// what comes out.
//
// A block is run as a model of one layer whose embedding is the residual stream that enters it, through the engine's
// own forward. Only one block is ever in memory, so a model is calibrated in little more than its largest block.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/model.h"
#include "files/model_files.h"

namespace candor::engine {

// The four inputs of a block's seven linear layers.
enum class BlockInput { kAttention, kOutput, kMlp, kDown };
inline constexpr int kBlockInputs = 4;
BlockInput input_of(Linear linear);

// XᵀX of one input, added up in double over stretches that were summed in float32.
struct InputMoments {
  int64_t width = 0;
  std::vector<double> sums;  // [width, width]
};

class BlockStream {
 public:
  // Reads the tokens' embeddings. `files` must outlive it. sequences: ids inside the vocabulary, each sequence at least
  // one token and no longer than the model's context (CHECK). Error: the file cannot be read.
  static Result<BlockStream> start(const Context& context, const files::ModelFiles& files,
                                   std::vector<std::vector<int32_t>> sequences);

  int64_t tokens() const { return tokens_; }

  // Runs the block as the file has it and leaves the stream where it is. Error: the file cannot be read; a hidden state
  // is not finite.
  Result<std::array<InputMoments, kBlockInputs>> moments(int64_t layer) const;

  // Carries the stream through the block, with these weights [out, in] instead of the file's.
  using Replaced = std::map<Linear, std::vector<float>>;
  Result<void> advance(int64_t layer, const Replaced& replaced);

 private:
  BlockStream(const Context& context, const files::ModelFiles& files) : context_(&context), files_(&files) {}
  Result<Model> load_block(int64_t layer, const Replaced& replaced) const;

  const Context* context_;
  const files::ModelFiles* files_;
  std::vector<std::vector<int32_t>> sequences_;  // rows of residual_: 0, 1, 2, …
  std::vector<float> residual_;                  // [tokens, hidden]
  int64_t tokens_ = 0;
};

}  // namespace candor::engine
