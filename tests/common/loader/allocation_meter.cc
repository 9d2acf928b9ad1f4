#include "tests/common/loader/allocation_meter.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<size_t> g_allocated = 0;
std::atomic<size_t> g_peak = 0;

}  // namespace

namespace aios {

AllocationMeter::AllocationMeter() : before_(g_allocated) { g_peak = before_; }
size_t AllocationMeter::Peak() const { return g_peak - before_; }

}  // namespace aios

void* operator new(size_t size) {
  void* data = std::malloc(size);
  if (data == nullptr) throw std::bad_alloc();
  const size_t now = g_allocated += ::malloc_usable_size(data);
  if (now > g_peak) g_peak = now;
  return data;
}

void operator delete(void* data) noexcept {
  g_allocated -= ::malloc_usable_size(data);  // 0 for nullptr
  std::free(data);
}

void operator delete(void* data, size_t) noexcept { operator delete(data); }
