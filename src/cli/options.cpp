#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/memory_limit.h"
#include "base/nearest_name.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"

namespace candor::cli {
namespace {

// The first word that looks like an option and is none, with the nearest one that is.
std::string unknown_option(const CLI::App& app, const Words& words) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (const std::string& word : words) {
    const std::string name = word.substr(0, word.find('='));
    if (name.starts_with("--") && std::find(names.begin(), names.end(), name) == names.end())
      return fmt::format("unknown option {}.{}", in_quotes(name), did_you_mean(name, names));
  }
  return "";
}

}  // namespace

Options::Options(const std::string& verb, const std::string& summary) : app(summary, "candor " + verb) {}

std::optional<int> Options::parse(const Words& words) {
  Words reversed(words.rbegin(), words.rend());  // as CLI11 wants them
  try {
    app.parse(std::move(reversed));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    return kOk;
  } catch (const CLI::ParseError& failure) {
    const std::string unknown = unknown_option(app, words);
    print_error(fmt::format("{} {} --help says what it takes.",
                            unknown.empty() ? failure.what() + std::string(".") : unknown, app.get_name()));
    return kUsage;
  }
}

void ModelOptions::add_model(CLI::App& app, const std::string& besides) {
  app.add_option("MODEL", model,
                 "a Hugging Face directory, a GGUF file, hub:OWNER/NAME or a bundled name (smollm2)" + besides)
      ->required();
}

void ModelOptions::add_adapter(CLI::App& app) {
  app.add_option("--adapter", adapter, "a PEFT adapter to put on the model");
}

void ModelOptions::add_dtype(CLI::App& app) {
  app.add_option(
      "--dtype", dtype,
      "the arithmetic: float32, bfloat16 (weights, inputs of linear layers, keys and values), int8 or int4 "
      "(weights), blocks (a GGUF file's quantized ones); by default what the model's file holds: its quantized blocks, "
      "bfloat16, or float32");
  app.add_option("--quantized_activations", activations,
                 "what activations are where they meet quantized weights: auto, int8, bfloat16 or float32");
}

void ModelOptions::add_max_memory(CLI::App& app) {
  app.add_option("--max_memory", max_memory,
                 "refuse, before a weight is read, what would take more memory than this, as 8GB or 800MiB; by default "
                 "what the machine and its control group leave")
      ->check([](const std::string& text) {
        const auto bytes = parse_bytes(text);
        return text == "auto" || bytes ? "" : bytes.error().message;
      });
}

void ModelOptions::add_threads(CLI::App& app) {
  app.add_option("--threads", threads,
                 "worker threads; 0 takes the cores this process may use; changes no bit of the result")
      ->check(CLI::Range(0, 4096));
}

void ModelOptions::add_json(CLI::App& app, const std::string& meaning) {
  app.add_flag("--json", json, meaning);
}

int fail(const Error& error) {
  print_error(error.message);
  return kFailed;
}

}  // namespace candor::cli
