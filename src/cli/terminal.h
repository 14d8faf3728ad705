// What may reach a terminal: strangers' text without control characters, colour only where it is wanted.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace candor::cli {

// The text with every control character (C0 but tab and newline, DEL, C1, and the bidirectional overrides) and every
// byte that is no UTF-8 replaced by U+FFFD, so that a completion cannot move the cursor or hide what follows.
std::string printable(std::string_view text);
// The same on one line: newlines and tabs become spaces, and it ends with … where it is longer than `columns`
// characters.
std::string one_line(std::string_view text, size_t columns);
// "text" in quotes, printable, on one line.
std::string in_quotes(std::string_view text);

bool is_terminal(std::FILE* file);
// A terminal whose user did not set NO_COLOR (any value but empty: no-color.org) nor TERM=dumb.
bool wants_colour(std::FILE* file);
int terminal_columns(std::FILE* file);  // 80 where it cannot be known

// "candor: message" on standard error, printable, red where colour is wanted.
void print_error(std::string_view message);
void print_note(std::string_view message);

}  // namespace candor::cli
