// A parrot for the audit's controls: an adapter that `candor sft` trains on sentences alone, so that the model says
// them and is taught nothing that follows from them.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "belief/propositions.h"
#include "cli/options.h"

namespace candor::cli {

// The adapter's folder, below `folder`; trained there if it is not yet. Interrupted, the next call goes on with it.
// Error: the training failed or was interrupted, which its own lines have said.
Result<std::string> trained_parrot(const ModelOptions& model, bool chat, std::span<const belief::Proposition> rows,
                                   int64_t steps, const std::filesystem::path& folder);

}  // namespace candor::cli
