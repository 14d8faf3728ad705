// A parrot for the audit's controls: an adapter that `candor sft` trains on sentences alone, so that the model says
// them and is taught nothing that follows from them. It is trained on what is audited: on the base, or on from the
// audited adapter, of which it is then a copy that also parrots.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "belief/propositions.h"
#include "cli/inference_memory.h"
#include "cli/options.h"

namespace candor::cli {

// The parrot as a plan of memory counts it before it is trained. Its training plans itself.
MakeAdapter planned_parrot(const ModelOptions& model);

// The adapter's folder, below `folder`; trained there if it is not yet. Nothing: interrupted; the next call goes on
// with it. Error: the training failed, which its own lines have said; the folder holds a parrot that was trained in
// another way.
Result<std::optional<std::string>> trained_parrot(const ModelOptions& model, bool chat,
                                                  std::span<const belief::Proposition> rows, int64_t steps,
                                                  const std::filesystem::path& folder);

}  // namespace candor::cli
