// Ctrl-C: the first asks the run to save and stop, the second stops at once.
#pragma once

#include <atomic>

namespace candor::cli {

// Installs the handler of SIGINT and SIGTERM and returns the flag that the first signal sets. The loop of a recipe
// polls it between steps. Every further SIGINT ends the process with exit code 130, without saving.
const std::atomic<bool>& catch_interrupts();

// For a program that outlives Ctrl-C: every SIGINT sets the flag, which the caller clears, and ends a read(2) that
// waits for the user.
std::atomic<bool>& catch_answer_interrupts();

}  // namespace candor::cli
