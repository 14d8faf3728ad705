// The options of the verbs that are no recipes, read by CLI11, and those that several verbs share.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/verbs.h"

namespace candor::cli {

struct Options {
  Options(const std::string& verb, const std::string& summary);

  // Set: the verb is over (help was printed, or a word was wrong and was named).
  std::optional<int> parse(const Words& words);

  CLI::App app;
};

// MODEL, --adapter, --dtype and --quantized_activations, --max_memory, --threads and --json, for the verbs that run or
// read a model.
struct ModelOptions {
  std::string model, adapter, dtype, activations;
  std::string max_memory = "auto";  // auto: what the machine and its control group leave
  int threads = 0;                  // 0: the cores this process may use
  bool json = false;

  void add_model(CLI::App& app, const std::string& besides = "");
  void add_adapter(CLI::App& app);
  void add_dtype(CLI::App& app);
  void add_max_memory(CLI::App& app);
  void add_threads(CLI::App& app);
  void add_json(CLI::App& app, const std::string& meaning);
};

// Prints the error; the exit code of a verb that failed.
int fail(const Error& error);

}  // namespace candor::cli
