#include "common/base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "common/base/error.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

class MappedFileTest : public testing::Test {
 protected:
  // A file of the test's own with that text.
  fs::path Write(std::string_view text) const {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    const fs::path path = fs::path(testing::TempDir()) / (std::string("mapped_") + test->name());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  static std::string_view Text(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
  }
  static std::string ErrorOf(const fs::path& path) {
    try {
      MappedFile::Open(path);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(MappedFileTest, HasTheBytesOfTheFile) {
  const std::string text = "some\0bytes" + std::string(10'000, 'x');
  EXPECT_EQ(Text(MappedFile::Open(Write(text))), text);
  EXPECT_EQ(ReadTextFile(Write(text)), text);
}

TEST_F(MappedFileTest, EmptyFile) {
  const MappedFile file = MappedFile::Open(Write(""));
  EXPECT_EQ(file.size(), 0);
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_EQ(ReadTextFile(Write("")), "");
}

TEST_F(MappedFileTest, BytesStayWhenTheOwnerMoves) {
  MappedFile file = MappedFile::Open(Write("text"));
  const std::byte* data = file.bytes().data();
  MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().data(), data);
  MappedFile assigned;
  assigned = std::move(moved);
  EXPECT_EQ(assigned.bytes().data(), data);
  EXPECT_EQ(Text(assigned), "text");
}

TEST_F(MappedFileTest, OutlivesTheName) {
  const fs::path path = Write("text");
  const MappedFile file = MappedFile::Open(path);
  fs::remove(path);
  EXPECT_EQ(Text(file), "text");
}

TEST_F(MappedFileTest, WhatIsNoRegularFile) {
  EXPECT_EQ(ErrorOf("no/such/file"), "no/such/file: cannot open: No such file or directory");
  EXPECT_EQ(ErrorOf(testing::TempDir()), testing::TempDir() + ": not a regular file");
  EXPECT_EQ(ErrorOf("/dev/zero"), "/dev/zero: not a regular file");
  const fs::path pipe = Write("");
  fs::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(pipe),
            pipe.string() + ": not a regular file");  // and does not wait for a writer
  fs::remove(pipe);
}

TEST_F(MappedFileTest, TextFileHasALimit) {
  const fs::path path = Write("12345");
  EXPECT_EQ(ReadTextFile(path, 5), "12345");
  EXPECT_THROW(ReadTextFile(path, 4), InputError);
}

}  // namespace
}  // namespace aios
