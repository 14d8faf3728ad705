#include "files/run_index.h"

#include <sqlite3.h>

#include <array>
#include <cstdlib>

#include "base/atomic_file.h"

namespace candor::files {

namespace {

namespace fs = std::filesystem;

constexpr int kBusyMs = 5000;  // two runs that start at once wait for one another
constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, verb TEXT NOT "
    "NULL, model TEXT NOT NULL, dataset TEXT NOT NULL, started TEXT NOT NULL) STRICT";
constexpr const char* kRecord =
    "INSERT INTO runs (path, verb, model, dataset, started) VALUES (?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET "
    "verb = excluded.verb, model = excluded.model, dataset = excluded.dataset, started = excluded.started";
constexpr const char* kList = "SELECT id, path, verb, model, dataset, started FROM runs ORDER BY id";
constexpr const char* kForget = "DELETE FROM runs WHERE id = ?";

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

// Null on a failure, which the database then describes.
Statement prepare(sqlite3* database, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(database, sql, -1, &statement, nullptr);
  return Statement(statement);
}

void bind(sqlite3_stmt* statement, int place, const std::string& text) {
  sqlite3_bind_text(statement, place, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}

std::string text_of(sqlite3_stmt* statement, int column) {
  const unsigned char* text = sqlite3_column_text(statement, column);
  return text ? reinterpret_cast<const char*>(text) : "";
}

}  // namespace

void RunIndex::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}

Error RunIndex::failure(const char* act) const {
  return error("[{}] cannot {} the index of runs: {}.", path_.string(), act, sqlite3_errmsg(database_.get()));
}

Result<RunIndex> RunIndex::open(const fs::path& path) {
  TRY(make_directories(path.parent_path()));
  sqlite3* database = nullptr;
  const int code = sqlite3_open(path.c_str(), &database);
  RunIndex index(path, database);
  if (code != SQLITE_OK) return index.failure("open");
  sqlite3_busy_timeout(database, kBusyMs);
  if (sqlite3_exec(database, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK) return index.failure("open");
  return index;
}

Result<void> RunIndex::record(const RunEntry& entry) {
  const Statement statement = prepare(database_.get(), kRecord);
  if (!statement) return failure("write to");
  int place = 0;
  for (const std::string* text : {&entry.path, &entry.verb, &entry.model, &entry.dataset, &entry.started})
    bind(statement.get(), ++place, *text);
  if (sqlite3_step(statement.get()) != SQLITE_DONE) return failure("write to");
  return {};
}

Result<std::vector<RunEntry>> RunIndex::list() {
  const Statement statement = prepare(database_.get(), kList);
  if (!statement) return failure("read");
  std::vector<RunEntry> entries;
  int code;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    sqlite3_stmt* row = statement.get();
    entries.push_back({sqlite3_column_int64(row, 0), text_of(row, 1), text_of(row, 2), text_of(row, 3), text_of(row, 4),
                       text_of(row, 5)});
  }
  if (code != SQLITE_DONE) return failure("read");
  return entries;
}

Result<void> RunIndex::forget(int64_t id) {
  const Statement statement = prepare(database_.get(), kForget);
  if (!statement) return failure("write to");
  sqlite3_bind_int64(statement.get(), 1, id);
  if (sqlite3_step(statement.get()) != SQLITE_DONE) return failure("write to");
  return {};
}

std::optional<fs::path> default_run_index() {
  const auto folder = [](const char* variable) -> std::optional<fs::path> {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return fs::path(value);
  };
  if (const auto data = folder("CANDOR_DATA")) return *data / "runs.sqlite";
  if (const auto xdg = folder("XDG_DATA_HOME")) return *xdg / "candor" / "runs.sqlite";
  if (const auto home = folder("HOME")) return *home / ".local" / "share" / "candor" / "runs.sqlite";
  return std::nullopt;
}

}  // namespace candor::files
