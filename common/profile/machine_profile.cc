#include "common/profile/machine_profile.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string_view>

#include "common/base/error.h"
#include "common/base/mapped_file.h"
#include "common/base/utf8.h"
#include "common/profile/cpu_gemm.h"

namespace aios {
namespace {

namespace fs = std::filesystem;

constexpr int kSchema = 1;  // a file of another is measured again
constexpr size_t kMaxFileBytes = 1 << 20;

// What tells one machine from another. If any of it changes, what was measured no longer holds.
std::string KeyOf(const MachineProfile& profile) {
  const MachineInfo& m = profile.machine;
  std::string key = fmt::format("{}; {} cores, {}; {} threads; {} bytes", m.cpu, m.n_cores, m.simd,
                                profile.n_threads, m.memory_bytes);
  for (const GpuProfile& gpu : profile.gpus) {
    key += fmt::format("; GPU {}: {}, {} SMs, {} bytes", gpu.index, gpu.name, gpu.n_sms,
                       gpu.total_bytes);
  }
  return ReplaceInvalidUtf8(key);
}

fs::path FileOf(const std::string& key, const fs::path& folder) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
  for (const char c : key) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return folder / fmt::format("machine-{:016x}.json", hash);
}

// A speed that a machine can have: what a file says is not believed blindly.
double Speed(const JsonObject& json, std::string_view key) {
  const double value = json.Float(key);
  if (!std::isfinite(value) || value < 1e6 || value > 1e18)
    throw InputError("{}: {} is {}, which no machine does", json.source(), Quoted(key), value);
  return value;
}

// Takes what was measured from the file. Throws InputError if anything in it is not as it should
// be; `profile` may then be half filled.
void Read(const fs::path& path, const std::string& key, MachineProfile& profile) {
  const std::string source = path.string();
  const Json json = ParseJson(ReadTextFile(path, kMaxFileBytes), source);
  const JsonObject file(json, source);
  if (file.Int("schema") != kSchema || file.String("key") != key)
    throw InputError("{} is about another machine", source);
  profile.read_bytes_s = Speed(file, "read_bytes_s");
  profile.f32_flop_s = Speed(file, "f32_flop_s");

  const auto list = [&](const char* name) {
    const Json* found = file.Find(name);
    if (found == nullptr || !found->is_array())
      throw InputError("{}: '{}' is not a list", source, name);
    return *found;
  };
  const Json gpus = list("gpus");
  const Json links = list("links");
  const size_t n = profile.gpus.size();
  if (gpus.size() != n || links.size() != n * (n == 0 ? 0 : n - 1))
    throw InputError("{}: does not have all GPUs", source);
  for (size_t i = 0; i < n; ++i) {
    const JsonObject gpu(gpus[i], source);
    profile.gpus[i].read_bytes_s = Speed(gpu, "read_bytes_s");
    profile.gpus[i].copy_bytes_s = Speed(gpu, "copy_bytes_s");
    profile.gpus[i].bf16_flop_s = Speed(gpu, "bf16_flop_s");
  }
  for (const Json& element : links) {
    const JsonObject link(element, source);
    profile.links.push_back({.from = static_cast<int>(link.Int("from")),
                             .to = static_cast<int>(link.Int("to")),
                             .peer_access = link.Bool("peer_access", false),
                             .native_atomics = link.Bool("native_atomics", false),
                             .copy_bytes_s = Speed(link, "copy_bytes_s")});
  }
  profile.origin = fmt::format("measured {}, kept in {}", file.String("measured_at"), source);
}

// To a file of its own first, which then takes the name: nobody ever reads a half of it. Returns
// false if it cannot be written.
bool Write(const Json& json, const fs::path& path) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path temporary = path.string() + fmt::format(".{}", ::getpid());
  {
    std::ofstream file(temporary);
    file << json.dump(1) << "\n";
    if (!file.flush()) return false;
  }
  fs::rename(temporary, path, error);
  return !error;
}

std::string Today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  char text[sizeof "2026-01-31"];
  std::strftime(text, sizeof text, "%Y-%m-%d", &utc);
  return text;
}

MachineProfile FindMachine(int n_threads) {
  MachineProfile profile = {.machine = ProbeMachine(), .n_threads = n_threads};
  if (n_threads <= 0) profile.n_threads = profile.machine.n_cores;
  profile.gpus = FindGpus(&profile.why_no_gpu);
  return profile;
}

}  // namespace

Json ToJson(const MachineProfile& profile) {
  Json json = {{"schema", kSchema},
               {"key", KeyOf(profile)},
               {"measured_at", Today()},
               {"read_bytes_s", profile.read_bytes_s},
               {"f32_flop_s", profile.f32_flop_s},
               {"gpus", Json::array()},
               {"links", Json::array()}};
  for (const GpuProfile& gpu : profile.gpus) {
    json["gpus"].push_back({{"name", ReplaceInvalidUtf8(gpu.name)},
                            {"n_sms", gpu.n_sms},
                            {"compute_capability", gpu.compute_capability},
                            {"total_bytes", gpu.total_bytes},
                            {"read_bytes_s", gpu.read_bytes_s},
                            {"copy_bytes_s", gpu.copy_bytes_s},
                            {"bf16_flop_s", gpu.bf16_flop_s}});
  }
  for (const GpuLink& link : profile.links) {
    json["links"].push_back({{"from", link.from},
                             {"to", link.to},
                             {"kind", link.kind()},
                             {"peer_access", link.peer_access},
                             {"native_atomics", link.native_atomics},
                             {"copy_bytes_s", link.copy_bytes_s}});
  }
  return json;
}

MachineProfile ProfileMachine(int n_threads, const fs::path& folder, bool again) {
  const MachineProfile found = FindMachine(n_threads);
  const std::string key = KeyOf(found);
  const fs::path path = folder.empty() ? fs::path() : FileOf(key, folder);
  std::string origin = "measured now";
  std::error_code ignored;
  if (!again && !path.empty() && fs::exists(path, ignored)) {
    MachineProfile profile = found;
    try {
      Read(path, key, profile);
      return profile;
    } catch (const InputError& error) {
      origin = fmt::format("measured now, since what was kept cannot be used ({})", error.what());
    }
  }

  MachineProfile profile = found;
  profile.read_bytes_s = MeasureReadBandwidth(profile.n_threads);
  profile.f32_flop_s = MeasureF32Gemm(profile.n_threads);
  MeasureGpus(profile.gpus);
  profile.links = MeasureGpuLinks(profile.gpus);
  if (path.empty()) {
    profile.origin = origin + "; not kept: neither XDG_CACHE_HOME nor HOME is set";
  } else if (Write(ToJson(profile), path)) {
    profile.origin = fmt::format("{}, kept in {}", origin, path.string());
  } else {
    profile.origin = fmt::format("{}; not kept: {} cannot be written", origin, path.string());
  }
  return profile;
}

fs::path ProfileFolder() {
  // The XDG specification: a path that is not absolute is to be ignored.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && fs::path(cache).is_absolute()) return fs::path(cache) / "aios";
  const char* home = std::getenv("HOME");
  if (home != nullptr && fs::path(home).is_absolute()) return fs::path(home) / ".cache" / "aios";
  return {};
}

std::vector<DeviceLimits> LimitsOf(const MachineProfile& profile) {
  std::vector<DeviceLimits> limits = {
      {.name = fmt::format("{}, {} threads", profile.machine.cpu, profile.n_threads),
       .is_gpu = false,
       .measured = true,
       .read_bytes_s = profile.read_bytes_s,
       .flop_s = profile.f32_flop_s,
       .memory_bytes = static_cast<double>(profile.machine.memory_bytes)}};
  for (const GpuProfile& gpu : profile.gpus) {
    if (!gpu.not_measured.empty()) continue;
    double link_bytes_s = 0;  // the slowest, which a ring waits for
    for (const GpuLink& link : profile.links) {
      if (link.from != gpu.index) continue;
      if (link_bytes_s == 0 || link.copy_bytes_s < link_bytes_s) link_bytes_s = link.copy_bytes_s;
    }
    limits.push_back({.name = gpu.name,
                      .is_gpu = true,
                      .measured = true,
                      .read_bytes_s = gpu.read_bytes_s,
                      .flop_s = gpu.bf16_flop_s,
                      .memory_bytes = static_cast<double>(gpu.total_bytes),
                      .link_bytes_s = link_bytes_s});
  }
  return limits;
}

}  // namespace aios
