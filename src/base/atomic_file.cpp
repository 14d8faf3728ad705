#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace candor {

namespace {

namespace fs = std::filesystem;

Error system_failure(const char* act, const fs::path& path, int code) {
  return error("[{}] cannot {}: {}.", path.string(), act, std::generic_category().message(code));
}

Error write_failure(const fs::path& path, int code, uint64_t written) {
  return error("[{}] cannot write: {}, after {} bytes.", path.string(), std::generic_category().message(code), written);
}

// An empty parent means the working directory.
fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      written_(other.written_),
      sum_(other.sum_) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<OutputFile> OutputFile::create(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) return system_failure("create", path, errno);
  return OutputFile(path, descriptor);
}

Result<void> OutputFile::write(std::string_view bytes) {
  sum_.update(bytes);
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return write_failure(path_, errno, written_);
    bytes.remove_prefix(static_cast<size_t>(done));
    written_ += static_cast<uint64_t>(done);
  }
  return {};
}

Result<std::string> OutputFile::finish() {
  // Some file systems (network ones) tell of a full disk only here.
  if (::fsync(descriptor_) != 0) return write_failure(path_, errno, written_);
  if (::close(std::exchange(descriptor_, -1)) != 0) return write_failure(path_, errno, written_);
  return sum_.hex();
}

Result<void> write_file_atomically(const fs::path& path, const WriteContent& content) {
  fs::path partial = path;
  partial += fmt::format(".tmp-{}", ::getpid());
  TRY(remove_tree(partial));  // of a process that died, its number used again
  auto write = [&]() -> Result<void> {
    OutputFile out = TRY(OutputFile::create(partial));
    TRY(content(out));
    TRY(out.finish());
    return rename_durably(partial, path);
  };
  Result<void> result = write();
  if (!result) static_cast<void>(remove_tree(partial));  // the first error is the one to tell
  return result;
}

Result<void> write_file_atomically(const fs::path& path, std::string_view bytes) {
  return write_file_atomically(path, [&](OutputFile& out) { return out.write(bytes); });
}

NamedContent named_bytes(std::string name, std::string bytes) {
  return {std::move(name), [bytes = std::move(bytes)](OutputFile& out) { return out.write(bytes); }};
}

Result<std::string> write_files(const fs::path& folder, const std::vector<NamedContent>& files) {
  std::string sums;
  for (const NamedContent& file : files) {
    CHECK(!file.name.empty() && file.name.find('/') == std::string::npos);
    OutputFile out = TRY(OutputFile::create(folder / file.name));
    TRY(file.content(out));
    sums += fmt::format("{}  {}\n", TRY(out.finish()), file.name);
  }
  TRY(sync_directory(folder));
  return sums;
}

Result<void> write_folder_atomically(const fs::path& path, const std::vector<NamedContent>& files, IfThere if_there) {
  fs::path folder = path.lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // a slash at the end
  std::error_code code;
  const bool there = fs::exists(fs::symlink_status(folder, code));
  if (there && if_there == IfThere::kRefuse)
    return error("[{}] is there already. Choose another folder, or remove this one.", path.string());
  fs::path partial = folder, aside = folder;
  partial += fmt::format(".tmp-{}", ::getpid());
  aside += fmt::format(".old.tmp-{}", ::getpid());
  TRY(remove_tree(partial));  // of a process that died, its number used again
  auto write = [&]() -> Result<void> {
    TRY(make_directories(partial));
    TRY(write_files(partial, files));
    if (there) {
      TRY(remove_tree(aside));
      TRY(rename_durably(folder, aside));
    }
    Result<void> renamed = rename_durably(partial, folder);
    if (!renamed && there) static_cast<void>(rename_durably(aside, folder));
    return renamed;
  };
  if (Result<void> result = write(); !result) {
    static_cast<void>(remove_tree(partial));  // gives the space back; the first error is the one to tell
    return result.error();
  }
  return there ? remove_tree(aside) : Result<void>();
}

Result<void> make_directories(const fs::path& path) {
  std::error_code code;
  fs::create_directories(path, code);
  if (code) return system_failure("create the folder", path, code.value());
  return {};
}

Result<void> rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return system_failure("rename to its place", to, errno);
  return sync_directory(folder_of(to));
}

Result<void> remove_tree(const fs::path& path) {
  std::error_code code;
  fs::remove_all(path, code);
  if (code) return system_failure("remove", path, code.value());
  return {};
}

Result<void> sync_directory(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return system_failure("open the folder", path, errno);
  const int failed = ::fsync(descriptor) != 0 ? errno : 0;
  ::close(descriptor);
  if (failed != 0 && failed != EINVAL) return system_failure("flush the folder", path, failed);  // EINVAL: cannot be
  return {};
}

}  // namespace candor
