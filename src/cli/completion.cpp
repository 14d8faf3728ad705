// candor completion bash|zsh|fish: the script that a shell reads to complete candor's words.
#include <fmt/format.h>

#include "cli/embedded.h"
#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/verbs.h"

namespace candor::cli {

int completion(const Words& words) {
  Options options("completion",
                  "Prints a shell's completion script. bash: source <(candor completion bash); zsh: source <(candor "
                  "completion zsh); fish: candor completion fish | source");
  std::string shell;
  options.app.add_option("SHELL", shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  if (const auto over = options.parse(words)) return *over;
  const EmbeddedFile& script = shell == "bash" ? kCompletionBash : shell == "zsh" ? kCompletionZsh : kCompletionFish;
  fmt::print("{}", script.text);
  return kOk;
}

}  // namespace candor::cli
