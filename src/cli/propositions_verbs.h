// The verbs of `candor propositions`, each in its own file; propositions.cpp finds them. And what several of them
// share.
#pragma once

#include <string>
#include <vector>

#include "belief/check.h"
#include "cli/verbs.h"

namespace candor::cli {

int propositions_check(const Words& words);
int propositions_world(const Words& words);
int propositions_convert(const Words& words);
int propositions_draft(const Words& words);
int propositions_repair(const Words& words);

constexpr const char* kPropositionsHelp =
    "a file of propositions: .jsonl or .json, with or without .gz or .zst (docs/propositions.md)";

// How many rows of a new file the validator finds wanting, with the first of their faults; nothing where all is well.
std::vector<std::string> faults_in_brief(const belief::Propositions& propositions);

}  // namespace candor::cli
