// Which weights an adapter was trained on, in one line of text.
#pragma once

#include <string>

#include "base/result.h"
#include "files/model_files.h"

namespace candor::files {

// SHA-256, in hex, of the sizes of the model and of two rows of every weight (the first and the middle one), widened to
// float32: the same for every file of the same weights, other for a model of the same shape, for one that was trained
// further, and for the same model in another precision. Read in milliseconds. Error: the file cannot be read, or a
// value is not finite.
Result<std::string> base_fingerprint(const ModelFiles& model);

}  // namespace candor::files
