#include "data/sft.h"

#include <algorithm>
#include <numeric>

#include "data/assistant_tokens.h"
#include "data/dialects.h"
#include "data/row_checks.h"

namespace candor::data {
namespace {

using text::Json;

// A row before it is cut. The mask is that of TRL's labels: the first token may count here.
struct Document {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask;
  int64_t row = 0;
  bool prompt_end_replaced = false;
  bool turns_derived = false;
};

// Whether anything is left to learn. Nothing predicts a sequence's first token; only in a bin of `wrapped` does a
// document's first token follow another.
bool anything_counts(const std::vector<uint8_t>& mask, const SftOptions& options) {
  const bool follows = options.packing == PackingStrategy::kWrapped;
  return std::find(mask.begin() + (follows ? 0 : 1), mask.end(), 1) != mask.end();
}

Result<void> only_assistant(const Json& messages, const Json& columns, std::string_view column,
                            const text::Rendered& whole, const TextReader& reader, Document& document) {
  const AssistantTokens assistant = TRY(assistant_tokens(reader, messages, columns, column, whole, document.ids));
  if (std::find(assistant.mask.begin(), assistant.mask.end(), 1) == assistant.mask.end())
    return error("\"{}\" holds no turn of the assistant, and assistant_only_loss learns from nothing else.", column);
  for (size_t i = 0; i < document.mask.size(); ++i) document.mask[i] &= assistant.mask[i];
  document.turns_derived = assistant.derived;
  return {};
}

Result<Document> from_ids(const Json& columns) {
  Document document;
  document.ids = TRY(read_ids(columns["input_ids"]));
  document.mask.assign(document.ids.size(), 1);
  if (!columns.contains("labels")) return document;
  const Json& labels = columns["labels"];
  if (!labels.is_array() || labels.size() != document.ids.size())
    return error("labels: expected {} numbers, one for each of input_ids.", document.ids.size());
  for (size_t i = 0; i < document.ids.size(); ++i) {
    if (labels[i] != -100 && labels[i] != document.ids[i])
      return error("labels: number {} is neither -100 nor the token {} itself.", i + 1, document.ids[i]);
    document.mask[i] = labels[i] == -100 ? 0 : 1;
  }
  return document;
}

Result<Document> from_prompt_completion(const Json& columns, const TextReader& reader, const SftOptions& options) {
  const bool chat = columns["prompt"].is_array();
  const std::string end = chat ? "" : TRY(end_of_sequence(reader));
  PromptCompletion both = TRY(read_prompt_completion(columns, reader, end));
  Document document;
  document.ids = std::move(both.ids);
  document.mask.assign(document.ids.size(), 1);
  if (options.completion_only_loss.value_or(true)) std::fill_n(document.mask.begin(), both.prompt_tokens, 0);
  document.prompt_end_replaced = both.prompt_tokens_replaced > 0;
  if (options.assistant_only_loss) {
    if (!chat) return error("assistant_only_loss needs conversations, and this row is plain text.");
    TRY(only_assistant(both.messages, columns, "prompt and completion", both.rendered, reader, document));
  }
  return document;
}

Result<Document> from_messages(const Json& columns, const TextReader& reader, const SftOptions& options) {
  const Json& messages = columns["messages"];
  const text::Rendered whole = TRY(render_messages(reader, messages, columns, "messages", false));
  Document document;
  document.ids = TRY(encode_rendered(reader, whole.text));
  document.mask.assign(document.ids.size(), 1);
  if (options.assistant_only_loss) TRY(only_assistant(messages, columns, "messages", whole, reader, document));
  return document;
}

Result<Document> from_text(const Json& columns, const TextReader& reader, const SftOptions& options) {
  const Json& value = columns[options.text_column];
  if (!value.is_string()) return error("\"{}\" is a {}, not text.", options.text_column, value.type_name());
  if (options.assistant_only_loss) return error("assistant_only_loss needs conversations, and this row is plain text.");
  std::string text = value.get<std::string>();
  const std::string end = TRY(end_of_sequence(reader));
  if (!text.ends_with(end)) text += end;
  Document document;
  document.ids = TRY(encode_plain(reader, text));
  document.mask.assign(document.ids.size(), 1);
  return document;
}

Result<Document> read_document(const Json& columns, const TextReader& reader, const SftOptions& options) {
  if (columns.contains("input_ids")) return from_ids(columns);
  if (const std::string fault = text_fault(columns); !fault.empty()) return error("{}", fault);
  if (columns.contains("prompt") && columns.contains("completion"))
    return from_prompt_completion(columns, reader, options);
  if (columns.contains("messages")) return from_messages(columns, reader, options);
  if (columns.contains(options.text_column)) return from_text(columns, reader, options);
  return error("expected a column \"{}\", \"messages\", or \"prompt\" with \"completion\", got {}.",
               options.text_column, column_names(columns));
}

Result<Document> read_document(const Row& row, const TextReader& reader, const SftOptions& options) {
  Document document = TRY(read_document(in_messages_dialect(row.columns), reader, options));
  document.row = row.number;
  if (!anything_counts(document.mask, options))
    return error("no token of this row counts in the loss: nothing to learn from.");
  return document;
}

std::string bound_name(const SftOptions& options, int64_t bound) {
  const bool by_context = !options.max_length || *options.max_length > bound;
  return fmt::format("{} {}", by_context ? "the context of" : "max_length", bound);
}

// Cuts a document to `bound` tokens; false when it is to be dropped. The account is told either way.
Result<bool> fit(Document& document, int64_t bound, const SftOptions& options, RowAccount& account) {
  const auto length = static_cast<int64_t>(document.ids.size());
  if (bound == 0 || length <= bound) return true;
  const std::string name = bound_name(options, bound);
  if (options.overlong == Overlong::kError)
    return error("{} tokens are more than {}. Raise max_length, shorten the row, or set overlong to truncate or drop.",
                 length, name);
  if (options.overlong == Overlong::kDrop) {
    account.add(fmt::format("dropped: longer than {}", name), document.row, length);
    return false;
  }
  if (options.packing && *options.packing != PackingStrategy::kBfd) return true;  // these keep every token
  if (options.packing || options.truncation_mode == TruncationMode::kKeepStart) {
    document.ids.resize(bound);
    document.mask.resize(bound);
  } else {
    document.ids.erase(document.ids.begin(), document.ids.end() - bound);
    document.mask.erase(document.mask.begin(), document.mask.end() - bound);
  }
  if (anything_counts(document.mask, options)) {
    account.add(fmt::format("cut to {}", name), document.row, length - bound);
    return true;
  }
  if (options.packing) {
    account.add(fmt::format("packed without a token that counts: what counts lies beyond {}", name), document.row,
                length - bound);
    return true;
  }
  account.add(fmt::format("dropped: what counts lies beyond {}", name), document.row, length);
  return false;
}

TrainingRow one_row(Document document) {
  document.mask[0] = 0;
  return {{{std::move(document.ids), std::move(document.mask)}}, {document.row}};
}

std::vector<TrainingRow> packed(const std::vector<Document>& documents, int64_t bound, PackingStrategy strategy) {
  std::vector<int64_t> lengths;
  for (const Document& document : documents) lengths.push_back(static_cast<int64_t>(document.ids.size()));
  std::vector<TrainingRow> rows;
  for (const Bin& bin : pack(lengths, bound, strategy)) {
    TrainingRow row;
    for (const Piece& piece : bin) {
      const Document& document = documents[piece.row];
      if (row.sequences.empty() || strategy != PackingStrategy::kWrapped) row.sequences.emplace_back();
      Sequence& sequence = row.sequences.back();
      const auto ids = document.ids.begin() + piece.start;
      const auto mask = document.mask.begin() + piece.start;
      sequence.ids.insert(sequence.ids.end(), ids, ids + piece.length);
      sequence.mask.insert(sequence.mask.end(), mask, mask + piece.length);
      row.row_numbers.push_back(document.row);
    }
    for (Sequence& sequence : row.sequences) sequence.mask[0] = 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

void count_tokens(SftSet& set) {
  for (const TrainingRow& row : set.rows) {
    for (const Sequence& sequence : row.sequences) {
      set.account.tokens += static_cast<int64_t>(sequence.ids.size());
      set.account.counted_tokens += std::accumulate(sequence.mask.begin(), sequence.mask.end(), int64_t{0});
    }
  }
}

void add_notes(const std::vector<Document>& documents, const SftOptions& options, SftSet& set) {
  int64_t replaced = 0, derived = 0;
  for (const Document& document : documents) {
    replaced += document.prompt_end_replaced ? 1 : 0;
    derived += document.turns_derived ? 1 : 0;
  }
  if (options.max_length && set.max_length < *options.max_length)
    set.notes.push_back(
        fmt::format("max_length {} is more than the model's context; {} holds.", *options.max_length, set.max_length));
  if (replaced > 0)
    set.notes.push_back(fmt::format(
        "In {} of {} rows the tokens of the prompt alone are not the start of those of prompt and completion: a token "
        "reaches across the border, or the template writes the prompt differently. The completion starts where they "
        "part.",
        replaced, documents.size()));
  if (derived > 0)
    set.notes.push_back(
        "The chat template does not mark the assistant's turns ({% generation %}): they are what each of the "
        "assistant's messages adds after the generation prompt, its end of turn included.");
}

}  // namespace

Result<Sequence> read_sft_row(const Json& columns, const TextReader& reader, const SftOptions& options) {
  Document document = TRY(read_document(Row{columns, 0, 0}, reader, options));
  document.mask[0] = 0;
  return Sequence{std::move(document.ids), std::move(document.mask)};
}

Result<SftSet> load_sft(const Rows& rows, const TextReader& reader, const SftOptions& options) {
  SftSet set{rows.name, {}, options.max_length.value_or(0), {}, {}};
  if (options.max_length && *options.max_length < 1)
    return error("[{}] max_length is {}. Expected at least 1 token.", options.where, *options.max_length);
  if (options.context_length > 0 && (set.max_length == 0 || options.context_length < set.max_length))
    set.max_length = options.context_length;
  if (options.packing && set.max_length == 0)
    return error("[{}] packing needs max_length: the size of a bin.", options.where);
  set.account.rows = static_cast<int64_t>(rows.rows.size());
  std::vector<Document> documents;
  for (const Row& row : rows.rows) {
    auto document = read_document(row, reader, options);
    if (!document && options.bad_rows == BadRows::kDrop) {
      set.account.add("dropped: " + document.error().message, row.number);
      continue;
    }
    const auto at_row = [&](const Error& fault) {
      return error("[{}] {}: {}", options.where, place(rows.name, row), fault.message);
    };
    if (!document) return at_row(document.error());
    const auto fits = fit(*document, set.max_length, options, set.account);
    if (!fits) return at_row(fits.error());
    if (*fits) documents.push_back(std::move(*document));
  }
  if (documents.empty()) {
    const std::vector<std::string> lines = describe(set.account);
    return error("[{}] {}: no row is left to train on. {}.", options.where, rows.name,
                 fmt::join(lines.begin() + (lines.size() > 1 ? 1 : 0), lines.end(), "; "));
  }
  set.account.kept = static_cast<int64_t>(documents.size());
  add_notes(documents, options, set);
  if (options.packing) {
    set.rows = packed(documents, set.max_length, *options.packing);
  } else {
    for (Document& document : documents) set.rows.push_back(one_row(std::move(document)));
  }
  count_tokens(set);
  return set;
}

}  // namespace candor::data
