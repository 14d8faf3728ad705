// An adapter put into the weights of its base: W + s·B·A, with DoRA its rows scaled to the magnitudes, and the whole
// weights of modules_to_save in the base's place.
#pragma once

#include <vector>

#include "base/result.h"
#include "files/model_files.h"
#include "files/peft_adapter.h"
#include "files/safetensors_writer.h"

namespace candor::files {

// The merged model's weights, computed row by row when they are read (write_model_directory reads each once): products
// and sums in double, rounded once to float32. Of a quantized base its dequantized values are taken. Where the head is
// tied and the adapter changes or saves one of embedding and head, both are there, each with its own values. Pairs that
// belong to a residual base (PeftAdapter) are converted, which takes its principal factors. `base` and `adapter` must
// outlive the answer. Error: the adapter changes a weight that the base lacks or that has another shape, or was asked
// to change one that it holds nothing for: it was made for another base.
Result<std::vector<TensorSource>> merged_weights(const ModelFiles& base, const PeftAdapter& adapter);

}  // namespace candor::files
