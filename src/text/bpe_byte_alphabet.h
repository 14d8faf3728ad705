// GPT-2's byte alphabet: one printable character for each of the 256 bytes, so that a vocabulary of byte strings can be
// written as text. Bytes that Latin-1 prints stand for themselves, the other 68 are U+0100, U+0101, … in order.
#pragma once

#include <string>
#include <string_view>

namespace candor::text {

// Each byte as its character of the alphabet.
std::string to_byte_alphabet(std::string_view bytes);

// Appends the bytes that `token` (valid UTF-8) stands for; a token with any character outside the alphabet is appended
// as it is.
void append_from_byte_alphabet(std::string& out, std::string_view token);

}  // namespace candor::text
