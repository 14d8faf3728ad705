// A model's weights in fewer bits, written as a GGUF file (files/gguf_model_writer.h).
//
// Matrices become `type`, embedding and head `embedding_type`, norms and biases float32. A matrix whose rows are no
// whole groups becomes F16, as in llama.cpp. Weights are read, rounded and written one after another; GPTQ
// holds one decoder block besides.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/context.h"
#include "engine/quantization/quantize_rows.h"
#include "files/model_files.h"

namespace candor::engine {

struct QuantizeOptions {
  WeightType type, embedding_type;
  QuantizeMethod method = QuantizeMethod::kRoundToNearest;
  std::vector<std::vector<int32_t>> calibration;  // token ids; only for a method that needs them
  double damping = 0.1;                           // gptq.h
  std::function<void(int64_t weights_done, int64_t weights)> progress = {};  // may be empty
  std::function<bool()> interrupted = {};                                    // true ends with an error
};

struct QuantizedWeight {
  std::string name;  // Hugging Face's
  WeightType type;   // as written
  int64_t values = 0;
  uint64_t bytes = 0;
  double relative_error = 0;  // ‖w − rounded w‖ / ‖w‖
  bool fell_back = false;     // to F16, since its rows are no whole groups
};

struct QuantizeReport {
  std::vector<QuantizedWeight> weights;
  uint64_t file_bytes = 0;
};

// Writes `output`, which is replaced or left as it was. Error: a weight that a type cannot hold, a tokenizer that GGUF
// cannot (both named), a file that cannot be read or written, an interruption.
Result<QuantizeReport> quantize_model(const Context& context, const files::ModelFiles& source,
                                      const QuantizeOptions& options, const std::filesystem::path& output);

}  // namespace candor::engine
