#include "recipes/distill_rows.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/sha256.h"

namespace candor::recipes {

namespace {

// Where the first token that counts stands, and one past the last.
struct Counted {
  size_t begin, end;
};
Counted counted_range(const data::Sequence& sequence) {
  const auto first = std::find(sequence.mask.begin(), sequence.mask.end(), 1);
  size_t end = sequence.mask.size();
  while (end > 0 && sequence.mask[end - 1] == 0) --end;
  return {static_cast<size_t>(first - sequence.mask.begin()), end};
}

std::vector<int32_t> part(const std::vector<int32_t>& ids, size_t begin, size_t end) {
  return {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)};
}

// The teacher's prompt of a row, given the sequence with what it is told.
Result<std::vector<int32_t>> teacher_prompt(const DistillRow& row, const data::Sequence* told,
                                            const std::string& name) {
  if (told == nullptr)
    return error("[distill] {} row {}: with the teacher's prompt nothing of it is left. Shorten the prompt.", name,
                 row.row);
  const Counted counted = counted_range(*told);
  const std::vector<int32_t> completion = part(told->ids, counted.begin, told->ids.size());
  if (completion.size() < row.completion.size() ||
      !std::equal(row.completion.begin(), row.completion.end(), completion.begin()))
    return error(
        "[distill] {} row {}: behind the teacher's prompt the completion is other tokens than behind the student's. "
        "Let the prompt end where a token ends, as a conversation's does.",
        name, row.row);
  return part(told->ids, 0, counted.begin);
}

}  // namespace

int64_t DistillRow::counted() const {
  return std::count(mask.begin(), mask.end(), 1);
}

Result<DistillSet> distill_set(const data::SftSet& of_student, const data::SftSet* of_teacher, int64_t context) {
  std::map<int64_t, const data::Sequence*> told;
  if (of_teacher != nullptr)
    for (const data::TrainingRow& row : of_teacher->rows) told[row.row_numbers.front()] = &row.sequences.front();
  DistillSet set{of_student.name, {}, 0};
  for (const data::TrainingRow& row : of_student.rows) {
    CHECK(row.sequences.size() == 1);
    const data::Sequence& sequence = row.sequences.front();
    const Counted counted = counted_range(sequence);
    if (counted.begin == sequence.mask.size()) continue;
    DistillRow out;
    out.row = row.row_numbers.front();
    out.prompt = part(sequence.ids, 0, counted.begin);
    out.completion = part(sequence.ids, counted.begin, counted.end);
    out.mask.assign(sequence.mask.begin() + static_cast<std::ptrdiff_t>(counted.begin),
                    sequence.mask.begin() + static_cast<std::ptrdiff_t>(counted.end));
    const auto found = told.find(out.row);
    out.teacher_prompt = of_teacher == nullptr
                             ? out.prompt
                             : TRY(teacher_prompt(out, found == told.end() ? nullptr : found->second, set.name));
    const auto length = static_cast<int64_t>(out.teacher_prompt.size() + out.completion.size());
    if (context > 0 && length > context)
      return error(
          "[distill] {} row {}: the teacher's prompt and the completion are {} tokens, and the teacher holds {}. "
          "Shorten the prompt, or lower max_length.",
          set.name, out.row, length, context);
    set.counted_tokens += out.counted();
    set.rows.push_back(std::move(out));
  }
  return set;
}

std::string digest_of(const DistillSet& set) {
  Sha256 sum;
  auto add = [&](const auto& values) {
    sum.update(fmt::format("{} ", values.size()));
    sum.update({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])});
  };
  for (const DistillRow& row : set.rows) {
    add(row.prompt);
    add(row.teacher_prompt);
    add(row.completion);
    add(row.mask);
  }
  return sum.hex();
}

DistillDocument distill_document(const DistillRow& row, int64_t number, int64_t most) {
  DistillDocument document;
  document.student = {row.prompt, {row.completion}, {row.mask}, static_cast<uint32_t>(number)};
  document.teacher = {row.teacher_prompt, {row.completion}, {row.mask}, 0};
  const auto length = std::max(most, static_cast<int64_t>(row.completion.size()));
  document.tokens = static_cast<int64_t>(std::max(row.prompt.size(), row.teacher_prompt.size())) + length - 1;
  return document;
}

}  // namespace candor::recipes
