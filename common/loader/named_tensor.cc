#include "common/loader/named_tensor.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "common/base/error.h"

namespace aios {

std::optional<int64_t> CheckedBytes(DType dtype, std::span<const int64_t> dims) {
  int64_t n_elements = 1;
  for (const int64_t dim : dims) {
    if (__builtin_mul_overflow(n_elements, dim, &n_elements)) return std::nullopt;
  }
  const kernels::FormatInfo info = kernels::Info(dtype);
  int64_t n_bytes = 0;
  if (__builtin_mul_overflow(n_elements / info.block_size, info.block_bytes, &n_bytes)) {
    return std::nullopt;
  }
  return n_bytes;
}

void CheckDistinct(std::span<const NamedTensor> tensors, std::string_view file) {
  // Sorting, not hashing: a hostile file can choose names that collide in a hash table, and make it
  // quadratic.
  std::vector<const NamedTensor*> sorted;
  for (const NamedTensor& tensor : tensors) sorted.push_back(&tensor);

  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->name < b->name; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1]->name == sorted[i]->name) {
      throw InputError("{}: tensor {} stands twice", file, Quoted(sorted[i]->name));
    }
  }

  // A tensor without elements has no byte to share.
  std::erase_if(sorted, [](auto* t) { return t->tensor.n_elements() == 0; });
  std::sort(sorted.begin(), sorted.end(),
            [](auto* a, auto* b) { return std::less<>()(a->tensor.data(), b->tensor.data()); });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const Tensor& before = sorted[i - 1]->tensor;
    const void* end = static_cast<const std::byte*>(before.data()) + before.n_bytes();
    if (std::less<>()(sorted[i]->tensor.data(), end)) {
      throw InputError("{}: tensors {} and {} overlap", file, Quoted(sorted[i - 1]->name),
                       Quoted(sorted[i]->name));
    }
  }
}

}  // namespace aios
