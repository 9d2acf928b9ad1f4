#include "common/base/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "common/base/error.h"

namespace aios {
namespace {

using testing::AllOf;
using testing::Gt;
using testing::HasSubstr;
using testing::Le;

TEST(AvailableMemory, IsPartOfTheMemory) {
  EXPECT_THAT(AvailableMemory(),
              AllOf(Gt(0), Le(int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE))));
}

TEST(CheckFitsMemory, ThrowsWhereItDoesNotAndNamesWhatDoesNot) {
  EXPECT_NO_THROW(CheckFitsMemory(0, "nothing"));
  EXPECT_NO_THROW(CheckFitsMemory(1 << 20, "a megabyte"));
  try {
    CheckFitsMemory(int64_t{1} << 60, "an exabyte");
    FAIL() << "fits";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("an exabyte needs 1152921504.6 GB of memory"));
  }
}

TEST(PeakMemory, GrowsWithWhatIsTouchedAndDoesNotShrink) {
  constexpr int64_t kBytes = 64 << 20;
  const int64_t before = PeakMemory();
  {
    std::vector<char> touched(kBytes, 1);
    EXPECT_GE(PeakMemory() - before, kBytes / 2);  // some of it may have been there before
  }
  EXPECT_GE(PeakMemory() - before, kBytes / 2);
}

}  // namespace
}  // namespace aios
