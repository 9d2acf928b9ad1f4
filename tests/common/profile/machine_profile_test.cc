// What was measured is kept, found again, and never trusted: files that are damaged or of another
// machine lead to a new measurement, and never to an error.
#include "common/profile/machine_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "common/base/error.h"
#include "common/profile/cpu_gemm.h"
#include "common/profile/published.h"

namespace aios {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Gt;
using testing::HasSubstr;
using testing::Lt;
using testing::Not;
using testing::StartsWith;

// GPUs would be measured for each of them: the files' rules do not depend on them.
class MachineProfileTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("CUDA_VISIBLE_DEVICES", "", 1); }

  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / "profiles";
    fs::remove_all(folder_);
  }

  fs::path OnlyFile() const {
    const fs::path path = fs::directory_iterator(folder_)->path();
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
    return path;
  }
  static std::string Read(const fs::path& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static void Write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

  // The file of this machine, with a speed that no measurement gives.
  fs::path PlantedFile() {
    ProfileMachine(1, folder_, false);
    Json json = Json::parse(Read(OnlyFile()));
    json["read_bytes_s"] = 123456789.0;
    Write(OnlyFile(), json.dump());
    return OnlyFile();
  }

  fs::path folder_;
};

TEST_F(MachineProfileTest, IsMeasuredOnceAndThenFoundInItsFile) {
  const MachineProfile first = ProfileMachine(1, folder_, false);
  EXPECT_THAT(first.origin, StartsWith("measured now, kept in "));
  EXPECT_THAT(first.read_bytes_s, AllOf(Gt(2e8), Lt(2e13)));
  EXPECT_THAT(first.f32_flop_s, AllOf(Gt(1e7), Lt(1e15)));

  PlantedFile();
  const MachineProfile second = ProfileMachine(1, folder_, false);
  EXPECT_EQ(second.read_bytes_s, 123456789.0);
  EXPECT_THAT(second.origin, AllOf(StartsWith("measured 2"), HasSubstr(OnlyFile().string())));
  EXPECT_EQ(second.machine.cpu, first.machine.cpu);
}

TEST_F(MachineProfileTest, IsMeasuredAgainIfAsked) {
  PlantedFile();
  EXPECT_NE(ProfileMachine(1, folder_, true).read_bytes_s, 123456789.0);
  EXPECT_NE(Json::parse(Read(OnlyFile()))["read_bytes_s"], 123456789.0);
}

TEST_F(MachineProfileTest, OtherThreadsHaveAnotherFile) {
  PlantedFile();
  EXPECT_NE(ProfileMachine(2, folder_, false).read_bytes_s, 123456789.0);
  EXPECT_EQ(ProfileMachine(1, folder_, false).read_bytes_s, 123456789.0);
}

TEST_F(MachineProfileTest, AFileThatCannotBeUsedIsMeasuredAgainAndReplaced) {
  const fs::path path = PlantedFile();
  const std::string whole = Read(path);
  const auto with = [&](const char* key, const Json& value) {
    Json json = Json::parse(whole);
    json[key] = value;
    return json.dump();
  };
  const std::vector<std::string> damaged = {"",
                                            whole.substr(0, whole.size() / 2),
                                            "[]",
                                            std::string(2 << 20, ' ') + whole,
                                            with("schema", 2),
                                            with("key", "another machine"),
                                            with("read_bytes_s", 0),
                                            with("read_bytes_s", -1e10),
                                            with("read_bytes_s", "fast"),
                                            with("f32_flop_s", 1e300),
                                            with("f32_flop_s", nullptr),
                                            with("gpus", "none"),
                                            with("gpus", Json::array({1})),
                                            with("links", Json::array({1}))};
  for (const std::string& text : damaged) {
    Write(path, text);
    const MachineProfile profile = ProfileMachine(1, folder_, false);
    EXPECT_THAT(profile.origin, StartsWith("measured now, since what was kept cannot be used"))
        << text.substr(0, 200);
    EXPECT_NE(profile.read_bytes_s, 123456789.0);
    EXPECT_NO_THROW(Json::parse(Read(OnlyFile())));
  }
}

TEST_F(MachineProfileTest, AFolderThatCannotBeWrittenIsNoError) {
  const MachineProfile profile = ProfileMachine(1, "/dev/null/aios", false);
  EXPECT_THAT(profile.origin, HasSubstr("not kept: /dev/null/aios"));
  EXPECT_GT(profile.read_bytes_s, 0);
  EXPECT_THAT(ProfileMachine(1, "", false).origin, HasSubstr("neither XDG_CACHE_HOME nor HOME"));
}

TEST(ProfileFolder, FollowsTheXdgSpecification) {
  ::setenv("XDG_CACHE_HOME", "/caches", 1);
  ::setenv("HOME", "/home/me", 1);
  EXPECT_EQ(ProfileFolder(), "/caches/aios");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(ProfileFolder(), "/home/me/.cache/aios");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(ProfileFolder(), "/home/me/.cache/aios");
  ::unsetenv("HOME");
  EXPECT_EQ(ProfileFolder(), "");
}

TEST(LimitsOf, LeavesOutGpusThatWereNotMeasuredAndTakesTheSlowestLink) {
  MachineProfile profile;
  profile.machine.cpu = "a CPU";
  profile.n_threads = 4;
  profile.read_bytes_s = 5e9;
  profile.f32_flop_s = 6e9;
  for (int i = 0; i < 3; ++i) {
    GpuProfile& gpu = profile.gpus.emplace_back();
    gpu.index = i;
    gpu.read_bytes_s = 1e12;
    gpu.bf16_flop_s = 1e14;
    if (i == 2) gpu.not_measured = "no memory";
  }
  profile.links = {{.from = 0, .to = 1, .copy_bytes_s = 3e11},
                   {.from = 0, .to = 2, .copy_bytes_s = 2e11},
                   {.from = 1, .to = 0, .copy_bytes_s = 1e11}};
  const std::vector<DeviceLimits> limits = LimitsOf(profile);
  ASSERT_EQ(limits.size(), 3);
  EXPECT_FALSE(limits[0].is_gpu);
  EXPECT_EQ(limits[0].flop_s, 6e9);
  EXPECT_TRUE(limits[1].is_gpu);
  EXPECT_EQ(limits[1].link_bytes_s, 2e11);
  EXPECT_EQ(limits[2].link_bytes_s, 1e11);
}

TEST(MeasureF32Gemm, IsPlausible) {
  EXPECT_THAT(MeasureF32Gemm(1), AllOf(Gt(1e7), Lt(1e13)));
  EXPECT_THAT(MeasureF32Gemm(3, {.n_rows = 1, .d_in = 7, .d_out = 64}), Gt(1e4));
}

TEST(PublishedMachines, AreFoundByName) {
  for (const PublishedMachine& machine : PublishedMachines()) {
    const DeviceLimits limits = LimitsOf(MachineNamed(machine.flag));
    EXPECT_FALSE(limits.measured);
    EXPECT_GT(limits.ridge(), 1) << machine.flag;
    EXPECT_LT(limits.ridge(), 1000) << machine.flag;
  }
  EXPECT_EQ(LimitsOf(MachineNamed("h200")).read_bytes_s, 4.8e12);
  try {
    MachineNamed("h300");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'h300'"), HasSubstr("h200"), HasSubstr("laptop")));
  }
}

}  // namespace
}  // namespace aios
