// What distillation trains on: prompts as the student and as the teacher see them, with one completion.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/sft.h"
#include "engine/policy_pass.h"

namespace candor::recipes {

struct DistillRow {
  std::vector<int32_t> prompt;          // at least one token
  std::vector<int32_t> teacher_prompt;  // the same, unless the teacher is told more
  std::vector<int32_t> completion;      // what the row's file holds, or what was sampled
  std::vector<uint8_t> mask;            // [completion] 1 counts
  int64_t row = 0;                      // in the file, 1-based

  int64_t counted() const;
};

struct DistillSet {
  std::string name;  // of the file, for messages
  std::vector<DistillRow> rows;
  int64_t counted_tokens = 0;
};

// From rows that were read for the student, none of them packed, and, where the teacher is told more, the same rows
// with that, uncut (`of_teacher`; else null). What counts begins the completion, what stands before is the prompt.
// `context`: tokens that the teacher can hold; 0: no bound. Error, naming the row: the teacher's prompt leaves no room,
// or next to it the completion is other tokens.
Result<DistillSet> distill_set(const data::SftSet& of_student, const data::SftSet* of_teacher, int64_t context);

// What the rows are, whatever file they came from.
std::string digest_of(const DistillSet& set);

// A row as the passes of student and teacher take it: the same completion behind either prompt. It points into `row`.
struct DistillDocument {
  engine::RolloutGroup student, teacher;
  int64_t tokens = 0;  // by which micro-batches are measured
};
// number: of the row in its step, for dropout. most: tokens of the longest completion that might have been sampled in
// the place of this one, so that its length does not decide which rows share a pass; 0: its own.
DistillDocument distill_document(const DistillRow& row, int64_t number, int64_t most = 0);

}  // namespace candor::recipes
