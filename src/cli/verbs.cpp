#include "cli/verbs.h"

#include <array>

namespace candor::cli {
namespace {

constexpr std::array kVerbs = {
    Verb{"report", "RUN", "writes the page of a run: report.html in its folder", report},
};

}  // namespace

std::span<const Verb> verbs() {
  return kVerbs;
}

}  // namespace candor::cli
