#include <fmt/format.h>

#include "common/base/error.h"
#include "common/profile/cpu_gemm.h"
#include "lessons/00_introduction/print.h"
#include "lessons/00_introduction/units.h"

namespace aios::lessons {

void PrintMachine(std::FILE* out, const MachineProfile& profile) {
  const MachineInfo& machine = profile.machine;
  fmt::print(out, "machine  {}, {} cores ({}), {:.0f} GB of memory\n", Escaped(machine.cpu),
             machine.n_cores, machine.simd, static_cast<double>(machine.memory_bytes) * 1e-9);
  if (machine.l2_bytes > 0) {
    fmt::print(out, "caches   {} KiB L1 and {} KiB L2 a core, {} MiB L3\n", machine.l1d_bytes >> 10,
               machine.l2_bytes >> 10, machine.l3_bytes >> 20);
  }
  constexpr CpuGemmShape kShape;
  fmt::print(out,
             "cpu      reads {}; multiplies {} in f32 (kernels/cpu MatMul, {} x {} x {}); {} "
             "threads\n",
             BytesPerSecond(profile.read_bytes_s), FlopsPerSecond(profile.f32_flop_s),
             kShape.n_rows, kShape.d_in, kShape.d_out, profile.n_threads);
  if (profile.gpus.empty()) fmt::print(out, "gpu      none: {}\n", profile.why_no_gpu);
  for (const GpuProfile& gpu : profile.gpus) {
    fmt::print(out, "gpu {}    {}: {} SMs, {} of memory, {} MiB L2; ", gpu.index, Escaped(gpu.name),
               gpu.n_sms, Bytes(static_cast<double>(gpu.total_bytes)), gpu.l2_bytes >> 20);
    if (!gpu.not_measured.empty()) {
      fmt::print(out, "could not be measured: {}\n", Escaped(gpu.not_measured));
      continue;
    }
    fmt::print(out, "reads {}, copies {}; multiplies {} in bf16 (cuBLASLt, 8192 x 8192 x 8192)\n",
               BytesPerSecond(gpu.read_bytes_s), BytesPerSecond(gpu.copy_bytes_s),
               FlopsPerSecond(gpu.bf16_flop_s));
  }
  for (const GpuLink& link : profile.links) {
    fmt::print(out, "link     GPU {} to {}: {}, {}\n", link.from, link.to, link.kind(),
               link.copy_bytes_s > 0 ? BytesPerSecond(link.copy_bytes_s) : "not measured");
  }
  fmt::print(out, "probe    {}\n", Escaped(profile.origin));
}

}  // namespace aios::lessons
