// AllocationMeter: how much memory a piece of code takes, at the most. A program that links this
// has its operator new and delete replaced by ones that count.
#pragma once

#include <cstddef>

namespace aios {

class AllocationMeter {
 public:
  AllocationMeter();
  // The most bytes that `new` has given out at a time since the meter was made, above those given
  // out before. For one meter at a time.
  size_t Peak() const;

 private:
  size_t before_;
};

}  // namespace aios
