#include "recipes/config_output.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace candor::recipes {
namespace {

TEST(OutputDir, ARunIsNeverOverwrittenUnasked) {
  const auto folder = std::filesystem::temp_directory_path() / ("candor_output_" + std::to_string(getpid()));
  const auto use = [&](std::string_view resume, bool overwrite) {
    return output_dir_use("grpo", folder, resume, overwrite);
  };
  EXPECT_EQ(*use("false", false), OutputDir::kFresh);
  EXPECT_EQ(*use("auto", false), OutputDir::kFresh);
  EXPECT_EQ(use("true", false).error().message, "[grpo] resume_from_checkpoint is true, but " + folder.string() +
                                                    " holds no run. Use auto to start where there is none.");

  std::filesystem::create_directories(folder);
  std::ofstream(folder / "notes.txt") << "mine";
  EXPECT_EQ(*use("false", false), OutputDir::kFresh);  // a folder with other files is no run

  std::filesystem::create_directories(folder / "checkpoint-5");
  EXPECT_EQ(use("false", false).error().message,
            "[grpo] " + folder.string() +
                " already holds a run. Give another output_dir, resume_from_checkpoint true to go on with it, or "
                "overwrite_output_dir true to replace it.");
  EXPECT_EQ(*use("true", false), OutputDir::kResume);
  EXPECT_EQ(*use("auto", false), OutputDir::kResume);
  EXPECT_EQ(*use("false", true), OutputDir::kReplace);
  EXPECT_EQ(output_dir_use("grpo", folder / "notes.txt", "false", false).error().message,
            "[grpo] output_dir " + (folder / "notes.txt").string() + " is a file. Give the name of a folder.");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace candor::recipes
