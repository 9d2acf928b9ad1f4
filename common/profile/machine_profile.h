// MachineProfile: what this machine is and what it was measured to do, measured once and kept in a
// small file for the next time.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/base/json.h"
#include "common/profile/gpu_probe.h"
#include "common/profile/probe.h"
#include "common/profile/roofline.h"

namespace aios {

struct MachineProfile {
  MachineInfo machine;
  int n_threads = 0;        // that measured
  double read_bytes_s = 0;  // MeasureReadBandwidth
  double f32_flop_s = 0;    // MeasureF32Gemm
  std::vector<GpuProfile> gpus = {};
  std::vector<GpuLink> links = {};
  std::string why_no_gpu = {};  // if there is none
  std::string origin = {};      // "measured now", or the file and when it was written
};

// What the file about this machine holds: its key says which machine, threads and GPUs it is of.
Json ToJson(const MachineProfile& profile);

// From the machine's file in `folder` if it is there, whole, and of this very machine; else, or if
// `again`, measured (1 s, and 2 s a GPU) and written there. A file that cannot be used or written
// is no error: `profile.origin` says so. An empty folder: keeps nothing.
MachineProfile ProfileMachine(int n_threads, const std::filesystem::path& folder, bool again);

// $XDG_CACHE_HOME/aios, or $HOME/.cache/aios; empty if neither is set.
std::filesystem::path ProfileFolder();

// The limits of the CPU, then of each GPU that could be measured.
std::vector<DeviceLimits> LimitsOf(const MachineProfile& profile);

}  // namespace aios
