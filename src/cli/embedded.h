// The files of web/ and completions/ and Chart.js, which CMake puts into the program (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace candor::cli {

struct EmbeddedFile {
  std::string_view text;
  std::string_view sha256;  // base64, as a content security policy writes it
};

extern const EmbeddedFile kReportHtml, kReportCss, kReportJs, kPageJs, kGuardJs, kAuditHtml, kAuditJs, kChartJs,
    kCompletionBash, kCompletionZsh, kCompletionFish;

}  // namespace candor::cli
