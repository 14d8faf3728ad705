// summary.json: what a script, a paper's table and report.html read of a run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/evaluation.h"
#include "data/row_account.h"
#include "files/json_file.h"

namespace candor::cli {

// "greedy" and "sampled": before, after, the exact McNemar test and the difference with its interval; "prose": nats per
// token before and after.
Result<files::Json> compare_evaluations(const Evaluation& before, const Evaluation& after);

// Up to `count` items with both greedy answers, those that changed first.
files::Json sample_answers(const Evaluator& evaluator, const Evaluation& before, const Evaluation& after, size_t count);

// One plain sentence: whether the greedy accuracy has changed, by how much, and whether that may be chance.
std::string verdict(const files::Json& evaluations);

// What became of the rows of a dataset. training_rows: after packing.
files::Json account_json(const std::string& name, const data::RowAccount& account, size_t training_rows,
                         int64_t max_length);
template <typename Set>
files::Json account_json(const Set& set) {
  return account_json(set.name, set.account, set.rows.size(), set.max_length);
}

// Processor, cores used, kernel level.
files::Json machine(const engine::Context& context);

// The largest resident memory of this process so far.
int64_t peak_resident_bytes();

// Named buffers at their peaks, largest first.
files::Json buffers(const engine::MemoryLedger& ledger);

}  // namespace candor::cli
