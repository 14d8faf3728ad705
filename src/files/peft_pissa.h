// PiSSA (arXiv 2404.02948) as plain LoRA: the pairs belong to W − s·B0·A0, B0 and A0 the principal factors of W. The
// same function of W has twice the ranks, of which the last half takes that start off again: PEFT's own conversion.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "files/model_files.h"
#include "files/peft_adapter.h"

namespace candor::files {

// A0 and −B0 of a pair, with s·B0·A0 the principal factors of W.
struct PissaStart {
  std::vector<float> a, b;  // [rank, in], [out, rank]
};
// Of w [out, in], row-major; scale: s. On one thread.
PissaStart pissa_start(const std::vector<float>& w, int64_t out, int64_t in, int64_t rank, double scale);

// The config of the plain LoRA: twice the ranks at the same scale, the last half of them frozen.
LoraConfig doubled_ranks(LoraConfig config);

// The pair's ranks, then those of the start.
void take_off_start(const PissaStart& start, LoraTensors& pair);

// A whole adapter of which config.init is kPissa; the start is that of the base's weights as they are read. Error: a
// weight is missing, has another shape, or cannot be read.
Result<PeftAdapter> plain_lora_of_pissa(const ModelFiles& base, const PeftAdapter& adapter);

}  // namespace candor::files
