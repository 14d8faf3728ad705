// What is wrong with the text of a row, whatever trains on it.
#pragma once

#include <string>

#include "text/chat_template.h"

namespace candor::data {

// The first NUL character in a row's strings ("\"messages\" holds a NUL character: …"), or nothing. Tokenizers differ
// in what they make of one, and C strings end there.
std::string text_fault(const text::Json& columns);

}  // namespace candor::data
