// audit.html of a belief audit: one file that needs nothing else, in the way of report.html.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace candor::cli {

// data: what belief::audit_json gives, and where there are: "name" (the title), "sentence" (the headline), "comparison"
// (belief::comparison_json), "probes" (belief::probe_json, a list), "probe_layer". Anything that is missing or of
// another type is left out of the page.
std::string audit_page(const nlohmann::ordered_json& data);

}  // namespace candor::cli
