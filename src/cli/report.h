// report.html of a run: one file that needs nothing else, made from what the run's folder holds.
//
// Everything in a run is strangers' text: the page's script writes it as text only, the data block cannot close its
// <script>, and the content security policy admits exactly the scripts and the style that CMake embedded.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/page.h"

namespace candor::cli {

// What the page shows: {"name", "summary" (or null), "recipe" (the text of recipe.yaml), "metrics" (rows, thinned to at
// most 2,000, first and last kept), "completions" (at most 24 steps with 8 each, long texts cut), "rows": {…}, and
// where the guard has looked at the run "guard" (report_guard.h)}.
// Errors: the folder holds no run; a row that is no JSON object (file and line). A last line without its newline, as a
// killed run leaves it, is left out.
Result<nlohmann::ordered_json> read_run(const std::filesystem::path& run);

std::string report_page(const nlohmann::ordered_json& data);

// Writes RUN/report.html (whole or not at all) and returns its path.
Result<std::filesystem::path> write_report(const std::filesystem::path& run);

}  // namespace candor::cli
