// The verbs of `candor data`, each in its own file; data.cpp finds them. And what several of them share.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/verbs.h"
#include "data/rows.h"
#include "data/text_reader.h"
#include "files/model_files.h"

namespace candor::cli {

int data_validate(const Words& words);
int data_stats(const Words& words);
int data_split(const Words& words);
int data_convert(const Words& words);
int data_dedup(const Words& words);
int data_pairs(const Words& words);
int data_task(const Words& words);

constexpr const char* kRowsHelp =
    "a file of rows: .jsonl, .json or .csv, with or without .gz or .zst; - reads JSON lines from standard input";

// The model whose tokens are counted, its text side only; `name` is what the user wrote. Error: it has no tokenizer.
Result<files::ModelFiles> open_text_side(const std::string& name);
data::TextReader reader_of(const files::ModelFiles& model);

// Writes rows to a new file, or as JSON lines to standard output where `path` is "-".
Result<void> put_rows(const data::Rows& rows, const std::filesystem::path& path);

}  // namespace candor::cli
