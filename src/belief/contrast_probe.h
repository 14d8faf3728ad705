// Contrast-consistent search (arXiv 2212.03827): a probe whose answers to a statement and to its negation add up to
// one, found without labels. It finds the most salient such feature, which need not be belief (arXiv 2312.10029).
#pragma once

#include <span>

#include "belief/truth_probe.h"

namespace candor::belief {

// Of p [pairs] for the statements and q for the negations: mean[(p - (1 - q))² + min(p, q)²] (their equation 3).
double contrast_loss(std::span<const double> p, std::span<const double> q);

// On the pairs of which both rows are in `train`; each side less its own mean, all divided by their deviation. Several
// beginnings, full-batch Adam, the least loss wins; the training labels say which end is true, and nothing else.
Probe fit_contrast(const ProbeRows& rows, std::span<const size_t> train, const ProbeOptions& options);

}  // namespace candor::belief
