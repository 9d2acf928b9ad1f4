// Machines that need not be here: what their makers publish, or what follows from their data
// sheets. Peaks, of which programs reach a part: measured limits are better where there are any.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "common/profile/roofline.h"

namespace aios {

struct PublishedMachine {
  std::string_view flag;  // "h200"
  std::string_view name;  // "NVIDIA H200 SXM"
  bool is_gpu;
  double memory_gb;  // 1e9 bytes
  double read_gb_s;
  double tflop_s;               // dense; GPUs: bf16 with f32 sums; CPUs: f32
  double link_gb_s;             // one direction, to all other GPUs together; 0: none
  std::string_view arithmetic;  // where the figures are from
};

std::span<const PublishedMachine> PublishedMachines();

// Throws InputError, which lists the names, if there is none of this name.
const PublishedMachine& MachineNamed(std::string_view flag);

DeviceLimits LimitsOf(const PublishedMachine& machine);

}  // namespace aios
