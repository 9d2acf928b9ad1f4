#include "common/profile/published.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"

namespace aios {
namespace {

// Data sheets: "NVIDIA A100 80GB" (2021), "H100" (2022), "H200" (2024), "L4" (2023), "NVIDIA Ada
// GPU Architecture" 1.1 (2022; of the RTX 4090, the rate with f32 sums). Where a sheet gives the
// rate "with sparsity", half of it stands here. NVLink's figure on the sheets is both directions.
// clang-format off
constexpr std::array<PublishedMachine, 6> kMachines = {{
    {"laptop",  "a laptop with 8 cores",  false,  16,   89.6,   1.02,   0, "two channels of DDR5-5600: 2 x 8 bytes x 5.6 GHz = 89.6 GB/s; 8 cores x 4 GHz x 2 AVX2 units x 8 lanes x 2 = 1.02 TFLOP/s"},
    {"rtx4090", "NVIDIA RTX 4090",        true,   24, 1008,   165.2,    0, "data sheet"},
    {"l4",      "NVIDIA L4",              true,   24,  300,   121,      0, "data sheet"},
    {"a100",    "NVIDIA A100 80 GB SXM",  true,   80, 2039,   312,    300, "data sheet"},
    {"h100",    "NVIDIA H100 SXM",        true,   80, 3350,   989,    450, "data sheet"},
    {"h200",    "NVIDIA H200 SXM",        true,  141, 4800,   989,    450, "data sheet"},
}};
// clang-format on

}  // namespace

std::span<const PublishedMachine> PublishedMachines() { return kMachines; }

const PublishedMachine& MachineNamed(std::string_view flag) {
  const auto* const found = std::ranges::find(kMachines, flag, &PublishedMachine::flag);
  if (found != kMachines.end()) return *found;
  std::vector<std::string_view> names;
  for (const PublishedMachine& machine : kMachines) names.push_back(machine.flag);
  throw InputError("no machine {} is known; there are {}", Quoted(flag), fmt::join(names, ", "));
}

DeviceLimits LimitsOf(const PublishedMachine& machine) {
  return {.name = std::string(machine.name),
          .is_gpu = machine.is_gpu,
          .measured = false,
          .read_bytes_s = machine.read_gb_s * 1e9,
          .flop_s = machine.tflop_s * 1e12,
          .memory_bytes = machine.memory_gb * 1e9,
          .link_bytes_s = machine.link_gb_s * 1e9};
}

}  // namespace aios
