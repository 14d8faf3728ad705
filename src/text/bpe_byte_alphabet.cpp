#include "text/bpe_byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace candor::text {
namespace {

constexpr int kAlphabetEnd = 256 + 68;  // one more than the last character

struct Alphabet {
  std::array<std::string, 256> of_byte;
  std::array<int16_t, kAlphabetEnd> byte_of;  // -1: not in the alphabet
};

Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte_of.fill(-1);
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int character = printable ? byte : next++;
    append_utf8(alphabet.of_byte[byte], static_cast<char32_t>(character));
    alphabet.byte_of[character] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

const Alphabet& alphabet() {
  static const Alphabet table = make_alphabet();
  return table;
}

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  const Alphabet& table = alphabet();
  std::string out;
  out.reserve(bytes.size());
  for (char byte : bytes) out += table.of_byte[static_cast<unsigned char>(byte)];
  return out;
}

void append_from_byte_alphabet(std::string& out, std::string_view token) {
  const Alphabet& table = alphabet();
  const size_t before = out.size();
  for (size_t at = 0; at < token.size();) {
    const Utf8Unit unit = utf8_unit(token, at);
    const int byte =
        unit.kind == Utf8Unit::Kind::kCharacter && unit.character < kAlphabetEnd ? table.byte_of[unit.character] : -1;
    if (byte < 0) {
      out.resize(before);
      out += token;
      return;
    }
    out += static_cast<char>(byte);
    at += unit.length;
  }
}

}  // namespace candor::text
