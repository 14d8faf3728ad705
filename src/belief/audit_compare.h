// Two audits of the same propositions, before and after: what training did to what a model says and believes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "belief/audit.h"
#include "statistics/paired.h"

namespace candor::belief {

// The items that both audits have, by id.
struct AuditComparison {
  int64_t items = 0, only_before = 0, only_after = 0;  // the last two: left out
  statistics::PairedCounts said;                       // 1: says it
  statistics::PairedCounts believed;                   // 1: called believed, said or not
  double said_p = 1, believed_p = 1;                   // exact McNemar, two-sided

  // π̂ after less π̂ before, each of the items said in its audit and each with its own Se and Sp; the interval draws
  // items in pairs and the controls of the two audits apart. Nothing where either audit is undetermined, or says none
  // of them.
  std::optional<double> believed_before, believed_after;
  std::optional<statistics::Interval> difference;

  // Places in the second audit's items: those whose call changed, the largest change of B first.
  std::vector<int64_t> gained, lost;
};

AuditComparison compare(const AuditResult& before, const AuditResult& after,
                        const statistics::BootstrapOptions& options = {.resamples = 2000});

// "Believes 61.0% after 31.2% before: 29.8 points more (95% interval 21.0 to 38.9). …", and what could not be compared.
std::string sentence(const AuditComparison& comparison, double confidence = 0.95);

}  // namespace candor::belief
