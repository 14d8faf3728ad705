// Propositions from files that others have made: statements with labels, proof trees, taxonomies, tables of one's own.
//
// A question is written only where it has one answer if the statement holds and the other if it does not. Where a
// source cannot give that, the propositions come with fewer questions, the validator says so row by row, and the notes
// count what was left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "belief/propositions.h"
#include "data/rows.h"

namespace candor::belief {

struct ConvertOptions {
  size_t per_kind = 2;    // sub-questions of each kind where they are drawn: even
  int64_t most = 100000;  // propositions
  uint64_t seed = 0;
};

struct Converted {
  std::vector<Proposition> items;  // numbered from 1
  std::vector<std::string> notes;  // "17 rows were left out: …"
};

// Geometry of Truth (arXiv 2310.06824), cities.csv: statement, label, city, country, correct_country. Every city once,
// as many true as false ones where that can be. The statement's other side is the country of the city's other row, so
// every question asks where the two differ. `conjunctions` are the rows of cities_cities_conj.csv, of which those are
// added whose parts are both there; it may be empty. Errors name row and column.
Result<Converted> convert_cities(const data::Rows& rows, const data::Rows& conjunctions, const ConvertOptions& options);

// larger_than.csv and smaller_than.csv: statement, label, n1, n2. Every pair of numbers once, as many true as false
// ones.
Result<Converted> convert_comparisons(const data::Rows& rows, const ConvertOptions& options);

// sp_en_trans.csv: "The Spanish word 'uno' means 'one'.", label. No questions: nothing that follows from what a word
// means is known here.
Result<Converted> convert_translations(const data::Rows& rows, const ConvertOptions& options);

// EntailmentBank's tasks (arXiv 2104.08661): hypothesis, answer, meta.triples. The premises of the proof become
// prerequisites; whoever denies the hypothesis must deny one of them, though not which, so of these rows the audit can
// ask little until more is drafted.
Result<Converted> convert_entailment_bank(const data::Rows& rows, const ConvertOptions& options);

// Leap of Thought (arXiv 2006.06609) as SLAG keeps it: phrase, answer, metadata.statement and metadata.property. The
// property of the class above is the prerequisite of the statement about a member.
Result<Converted> convert_leap_of_thought(const data::Rows& rows, const ConvertOptions& options);

// A table of one's own, one row a sub-question. Of the proposition: id, topic, statement, negation, answer, label,
// paraphrase_1, paraphrase_2, …; these may be empty in all rows of an id but the first. Of the question: kind,
// question, option_a, option_b (both empty: yes or no), if_true. Errors name row and column.
Result<Converted> convert_table(const data::Rows& rows, const ConvertOptions& options);

}  // namespace candor::belief
