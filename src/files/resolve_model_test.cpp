#include <gmock/gmock.h>

#include <cstdlib>
#include <map>

#include "files/model_files.h"
#include "support/scratch.h"

namespace candor::files {
namespace {

using candor::testing::ScratchFolder;
using ::testing::HasSubstr;

// Sets environment variables for the length of a test.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& values) {
    for (const char* name : {"CANDOR_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HOME"}) {
      const char* old = std::getenv(name);
      old_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
      ::unsetenv(name);
    }
    for (const auto& [name, value] : values) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : old_) value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str());
  }

 private:
  std::vector<std::pair<std::string, std::optional<std::string>>> old_;
};

TEST(ResolveModel, TheDefaultModelLiesInTheCache) {
  const ScratchFolder folder;
  const std::string name = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
  {
    const Environment environment({{"CANDOR_CACHE", (folder / "cache").string()}});
    EXPECT_EQ(
        resolve_model("smollm2").error().message,
        fmt::format("[model] smollm2 is not in the model cache: {} is absent. ./quickstart.sh --setup-only fetches it.",
                    (folder / "cache" / name).string()));
    folder.write("cache/" + name, "");
    EXPECT_EQ(*resolve_model("smollm2"), folder / "cache" / name);
  }
  const Environment environment({{"HOME", (folder / "home").string()}});
  folder.write("home/.cache/candor/" + name, "");
  EXPECT_EQ(*resolve_model("smollm2"), folder / "home/.cache/candor" / name);
}

TEST(ResolveModel, FindsTheHubsCache) {
  const ScratchFolder folder;
  const std::string model = "models--Owner--Some-Model";
  folder.write("hf/hub/" + model + "/refs/main", "abc123\n");
  folder.write("hf/hub/" + model + "/snapshots/abc123/config.json", "{}");
  folder.write("hf/hub/" + model + "/snapshots/def456/config.json", "{}");
  folder.write("hf/hub/models--o--gguf/snapshots/1/m.gguf", "");
  const Environment environment({{"HF_HOME", (folder / "hf").string()}});
  EXPECT_EQ(*resolve_model("hub:Owner/Some-Model"), folder / "hf/hub" / model / "snapshots/abc123");
  EXPECT_EQ(*resolve_model("Owner/Some-Model"), folder / "hf/hub" / model / "snapshots/abc123");
  EXPECT_EQ(*resolve_model("hub:o/gguf"), folder / "hf/hub/models--o--gguf/snapshots/1/m.gguf");
  EXPECT_THAT(resolve_model("hub:o/absent").error().message, HasSubstr("`hf download o/absent` fetches it."));
  EXPECT_THAT(resolve_model("o/absent").error().message, HasSubstr("is no path, and not in the Hugging Face cache"));
  for (const char* bad : {"hub:", "hub:x", "hub:../x", "hub:a/..", "hub:a/b/c", "hub:a/b;c", "hub:/x"}) {
    EXPECT_THAT(resolve_model(bad).error().message, HasSubstr("is no hub name; hub:OWNER/NAME is expected.")) << bad;
  }
}

TEST(ResolveModel, APathIsAPathAndAnythingElseSaysWhatWasTried) {
  const ScratchFolder folder;
  EXPECT_EQ(*resolve_model(folder.path().string()), folder.path());
  EXPECT_EQ(resolve_model("smollm3").error().message,
            "[model] \"smollm3\" is no path, no hub:OWNER/NAME and no bundled model (smollm2, tiny).");
}

}  // namespace
}  // namespace candor::files
