#include "text/tokenizer.h"

#include <unordered_map>

#include "text/bpe_byte_alphabet.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace candor::text {
namespace {

// Words repeat; each is merged once in a call.
struct WordIds {
  std::unordered_map<std::string, std::pair<uint32_t, uint32_t>> range_of;  // word to [first, last) of ids
  std::vector<int32_t> ids;
};

Result<void> encode_piece(const WordLevel& model, const Vocabulary& vocabulary, const std::string& piece, WordIds&,
                          std::vector<int32_t>& ids) {
  auto id = vocabulary.id_of(piece);
  if (!id) id = vocabulary.id_of(model.unk_token);
  if (!id) {
    return error("the word {:?} is not in the vocabulary, and neither is the unknown token {:?}.", piece,
                 model.unk_token);
  }
  ids.push_back(*id);
  return {};
}

Result<void> encode_piece(const Bpe& model, const Vocabulary& vocabulary, const std::string& piece, WordIds& words,
                          std::vector<int32_t>& ids) {
  constexpr size_t kLongestKept = 256;  // bytes; longer words hardly repeat
  if (piece.size() > kLongestKept) {
    encode_word(model, vocabulary, piece, ids);
    return {};
  }
  const auto [entry, is_new] = words.range_of.try_emplace(piece);
  if (is_new) {
    entry->second.first = static_cast<uint32_t>(words.ids.size());
    encode_word(model, vocabulary, piece, words.ids);
    entry->second.second = static_cast<uint32_t>(words.ids.size());
  }
  ids.insert(ids.end(), words.ids.begin() + entry->second.first, words.ids.begin() + entry->second.second);
  return {};
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<void> Tokenizer::Impl::add_token(AddedToken token, std::string_view where) {
  if (token.content.empty()) return error("{}: added token {} is empty.", where, token.id);
  const auto in_vocabulary = vocabulary.id_of(token.content);
  const int32_t expected = in_vocabulary ? *in_vocabulary : id_end;
  if (token.id != expected) {
    return error(
        "{}: added token {:?} has id {}, but {} {}. Other software renumbers such a file silently; correct the id.",
        where, token.content, token.id, in_vocabulary ? "the vocabulary gives it" : "the next free id is", expected);
  }
  if (added.find(token.id)) return error("{}: added token {:?} stands twice.", where, token.content);
  token.skipped = token.special;
  if (token.normalized) {
    std::string normal = TRY(normalize(normalizer, token.content));
    if (normal.empty()) return error("{}: added token {:?} is empty once normalized.", where, token.content);
    token.skipped = token.special && normal == token.content;  // the library looks a token up by its text
    token.content = std::move(normal);
  }
  id_end = std::max(id_end, token.id + 1);
  added.add(std::move(token));
  return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  const Impl& impl = *impl_;
  if (const auto invalid = find_invalid_utf8(text)) {
    return error("[tokenizer] {}: the text is not UTF-8 at byte {}. Convert it to UTF-8 or drop it.", impl.name,
                 *invalid);
  }
  const auto named = [&](const Error& e) { return error("[tokenizer] {}: {}", impl.name, e.message); };
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = impl.prefix;
  WordIds words;
  std::vector<std::string> pieces;
  for (const auto& outer : impl.added.split(text, false, options.parse_special_tokens)) {
    if (outer.token) {
      ids.push_back(outer.token->id);
      continue;
    }
    const auto normal = normalize(impl.normalizer, std::string(outer.text));
    if (!normal) return named(normal.error());
    for (const auto& inner : impl.added.split(*normal, true, options.parse_special_tokens)) {
      if (inner.token) {
        ids.push_back(inner.token->id);
        continue;
      }
      pieces.assign(1, std::string(inner.text));
      if (const auto split = pre_tokenize(impl.pre_tokenizer, pieces); !split) return named(split.error());
      for (const std::string& piece : pieces) {
        const auto encoded = std::visit(
            [&](const auto& model) { return encode_piece(model, impl.vocabulary, piece, words, ids); }, impl.model);
        if (!encoded) return named(encoded.error());
      }
    }
  }
  if (options.add_special_tokens) ids.insert(ids.end(), impl.suffix.begin(), impl.suffix.end());
  return ids;
}

std::string Tokenizer::decode(const std::vector<int32_t>& ids, const DecodeOptions& options) const {
  std::string bytes;
  bool first = true;
  for (int32_t id : ids) {
    const AddedToken* added = impl_->added.find(id);
    const std::string* token = added ? &added->content : impl_->vocabulary.token_of(id);
    if (!token || (options.skip_special_tokens && added && added->skipped)) continue;
    if (impl_->decoder == Decoder::kByteLevel) {
      append_from_byte_alphabet(bytes, *token);  // added tokens too, as in the library
    } else {
      if (!std::exchange(first, false)) bytes += ' ';
      bytes += *token;
    }
  }
  return to_valid_utf8(bytes);
}

int32_t Tokenizer::size() const {
  return impl_->id_end;
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const AddedToken* added = impl_->added.find(token)) return added->id;
  return impl_->vocabulary.id_of(token);
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  if (const AddedToken* added = impl_->added.find(id)) return added->content;
  const std::string* token = impl_->vocabulary.token_of(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* added = impl_->added.find(id);
  return added && added->special;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, Tokenizer::DecodeOptions options)
    : tokenizer_(&tokenizer), options_(options) {}

std::string StreamDecoder::push(int32_t id) {
  const Tokenizer::Impl& impl = *tokenizer_->impl_;
  const AddedToken* added = impl.added.find(id);
  const std::string* token = added ? &added->content : impl.vocabulary.token_of(id);
  if (!token || (options_.skip_special_tokens && added && added->skipped)) return {};
  if (impl.decoder == Decoder::kJoinWithSpaces) {
    if (!std::exchange(first_, false)) pending_ += ' ';
    pending_ += *token;
  } else if (added) {
    pending_ += *token;
  } else {
    append_from_byte_alphabet(pending_, *token);
  }
  return take_valid_utf8(pending_);
}

std::string StreamDecoder::flush() {
  std::string text = to_valid_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace candor::text
