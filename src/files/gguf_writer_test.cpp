// A written GGUF file is read again: metadata of every type, tensors, bytes of the oracle's own file.
#include "files/gguf_writer.h"

#include <gmock/gmock.h>

#include "files/gguf_block_encoders.h"
#include "support/full_disk.h"
#include "support/oracle.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::FullDisk;
using candor::testing::golden;
using candor::testing::read_text;
using candor::testing::ScratchFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

GgufTensorSource of_bytes(const std::string& name, const char* type, std::vector<int64_t> shape, std::string bytes) {
  return {name, find_encoder(type), std::move(shape),
          [bytes](const GgufTensorSource::Sink& sink) { return sink(bytes); }};
}

Result<void> write(const std::filesystem::path& path, const std::vector<GgufEntry>& entries,
                   const std::vector<GgufTensorSource>& tensors) {
  return write_file_atomically(path, [&](OutputFile& out) { return write_gguf(entries, tensors, out); });
}

TEST(GgufWriter, ValuesComeBack) {
  const ScratchFolder folder;
  const std::vector<std::string> words = {"", "ü", "two words"};
  const std::vector<int32_t> numbers = {-1, 0, 7};
  const std::vector<float> floats = {0.5f, -2.0f};
  const std::vector<GgufEntry> entries = {gguf_entry("u32", uint32_t{4000000000}),
                                          gguf_entry("f32", 1.5f),
                                          gguf_entry("yes", true),
                                          gguf_entry("no", false),
                                          gguf_entry("text", "한국어"),
                                          gguf_array("words", words),
                                          gguf_array("numbers", numbers),
                                          gguf_array("floats", floats),
                                          gguf_entry("general.alignment", uint32_t{64})};
  ASSERT_TRUE(write(folder / "kv.gguf", entries, {}));
  const auto file = GgufFile::open(folder / "kv.gguf");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->alignment(), 32u);  // the writer's own
  EXPECT_EQ(file->metadata().size(), entries.size() - 1);
  auto value = [&](const char* key) { return *file->find_value(key); };
  EXPECT_EQ(std::get<uint64_t>(value("u32")), uint64_t{4000000000});
  EXPECT_EQ(std::get<double>(value("f32")), 1.5);
  EXPECT_EQ(std::get<bool>(value("yes")), true);
  EXPECT_EQ(std::get<bool>(value("no")), false);
  EXPECT_EQ(std::get<std::string>(value("text")), "한국어");
  EXPECT_EQ(std::get<GgufArray>(value("words")).strings, words);
  EXPECT_THAT(*std::get<GgufArray>(value("numbers")).integers(), ElementsAre(-1, 0, 7));
  EXPECT_THAT(*std::get<GgufArray>(value("floats")).floats(), ElementsAre(0.5, -2.0));
}

// kv_types.gguf was written by gguf-py: all its value types, tensors of 1 to 4 dimensions, alignment 32.
TEST(GgufWriter, GgufPysOwnFileIsWrittenAgainByteForByte) {
  CANDOR_REQUIRE_FILE(golden("gguf/kv_types.gguf"));
  const ScratchFolder folder;
  for (const char* name : {"gguf/kv_types.gguf", "gguf/llama_f32.gguf"}) {
    SCOPED_TRACE(name);
    const auto file = GgufFile::open(golden(name));
    ASSERT_TRUE(file) << file.error().message;
    std::vector<GgufTensorSource> tensors;
    for (const GgufTensor& tensor : file->tensors()) {
      tensors.push_back({tensor.name, tensor.type, tensor.shape, [&](const GgufTensorSource::Sink& sink) {
                           std::string bytes(tensor.bytes, '\0');
                           EXPECT_TRUE(file->file().read(tensor.offset, bytes.data(), bytes.size()));
                           return sink(bytes);
                         }});
    }
    const std::vector<GgufEntry> entries = *file->entries();
    ASSERT_TRUE(write(folder / "again.gguf", entries, tensors));
    const std::string ours = read_text(folder / "again.gguf");
    EXPECT_TRUE(ours == read_text(golden(name)));
    EXPECT_EQ(gguf_bytes(entries, tensors), ours.size());
  }
}

TEST(GgufWriter, AFullDiskLeavesNothing) {
  const ScratchFolder folder;
  const FullDisk full(1000);
  const auto written = write(folder / "out.gguf", {}, {of_bytes("t", "F32", {2000}, std::string(8000, '\0'))});
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("cannot write: File too large, after 1000 bytes."));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(GgufWriter, ASourceThatFailsIsTheError) {
  const ScratchFolder folder;
  GgufTensorSource tensor = of_bytes("t", "F32", {2}, "");
  tensor.write = [](const GgufTensorSource::Sink&) -> Result<void> { return error("no such row."); };
  const auto written = write(folder / "out.gguf", {}, {tensor});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message, "no such row.");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace candor::files
