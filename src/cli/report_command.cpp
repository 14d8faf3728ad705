// candor report RUN
#include <fmt/format.h>

#include "cli/exit_code.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace candor::cli {

int report(const Words& words) {
  Options options("report", "Writes the page of a run: report.html in its folder, which needs no other file.");
  std::string run;
  options.app.add_option("RUN", run, "the run's folder (its output_dir)")->required();
  if (const auto over = options.parse(words)) return *over;

  const auto path = write_report(run);
  if (!path) return fail(path.error());
  fmt::print("{}\n", printable(path->string()));
  return kOk;
}

}  // namespace candor::cli
