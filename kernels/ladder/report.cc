// The part of the harness that reads flags and prints rows.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/ladder/harness.h"

namespace aios::ladder {
namespace {

double Rate(const Row& row) { return (row.memory_bound ? row.bytes : row.flops) / row.seconds; }

// The seconds of the library for each operation and shape.
std::map<std::pair<std::string, std::string>, double> LibrarySeconds(const std::vector<Row>& rows) {
  std::map<std::pair<std::string, std::string>, double> seconds;
  for (const Row& row : rows)
    if (row.level == 0) seconds[{row.op, row.shape}] = row.seconds;
  return seconds;
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

// JSON has no infinity and no NaN.
std::string Number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

}  // namespace

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  const auto fail = [&](const std::string& why) {
    std::cerr << argv[0] << ": " << why << "\nusage: [--json FILE] [--level N] [--quick]\n";
    std::exit(2);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 == argc) fail(flag + " wants a value");
      return argv[++i];
    };
    if (flag == "--quick") {
      flags.quick = true;
    } else if (flag == "--json") {
      flags.json = value();
    } else if (flag == "--level") {
      const std::string text = value();
      char* end = nullptr;
      const long level = std::strtol(text.c_str(), &end, 10);
      if (text.empty() || *end != '\0' || level < 1 || level > 99)
        fail("--level wants a number from 1 to 99, not '" + text + "'");
      flags.only_level = static_cast<int>(level);
    } else {
      fail("unknown flag '" + flag + "'");
    }
  }
  return flags;
}

void Print(const std::vector<Row>& rows) {
  const auto library = LibrarySeconds(rows);
  const std::string* shape = nullptr;
  for (const Row& row : rows) {
    if (shape == nullptr || *shape != row.shape) {
      std::printf("\n%s, %s\n", row.op.c_str(), row.shape.c_str());
      std::printf("  %-5s  %-40s  %11s  %14s  %8s  %10s  %8s\n", "level", "name", "time", "rate",
                  "of limit", "of library", "error");
      shape = &row.shape;
    }
    const std::string level = row.level == 0 ? "-" : std::to_string(row.level);
    std::printf("  %-5s  %-40s  %8.1f us  %6.*f %7s  ", level.c_str(), row.name.c_str(),
                row.seconds * 1e6, row.memory_bound ? 2 : 1, Rate(row) * 1e-12,
                row.memory_bound ? "TB/s" : "TFLOP/s");
    if (row.limit > 0)
      std::printf("%7.1f%%  ", 100 * Rate(row) / row.limit);
    else
      std::printf("%8s  ", "");
    const auto peer = library.find({row.op, row.shape});
    if (peer != library.end())
      std::printf("%9.1f%%  ", 100 * peer->second / row.seconds);
    else
      std::printf("%10s  ", "");
    std::printf("%8.1e\n", row.error);
  }
}

void WriteJson(const std::string& path, const Limits& limits, const std::vector<Row>& rows) {
  std::ofstream out(path);
  out << "{\"schema\": 1,\n \"device\": " << Quoted(limits.device)
      << ", \"driver\": " << Quoted(limits.driver)
      << ",\n \"read_bytes_s\": " << Number(limits.read_bytes_s)
      << ", \"copy_bytes_s\": " << Number(limits.copy_bytes_s)
      << ", \"gemm_flop_s\": " << Number(limits.gemm_flop_s) << ",\n \"rows\": [";
  const auto library = LibrarySeconds(rows);
  const char* separator = "\n  ";
  for (const Row& row : rows) {
    const auto peer = library.find({row.op, row.shape});
    out << std::exchange(separator, ",\n  ") << "{\"op\": " << Quoted(row.op)
        << ", \"level\": " << row.level << ", \"name\": " << Quoted(row.name)
        << ", \"shape\": " << Quoted(row.shape) << ", \"seconds\": " << Number(row.seconds)
        << ", \"flops\": " << Number(row.flops) << ", \"bytes\": " << Number(row.bytes)
        << ", \"rate\": " << Number(Rate(row)) << ", \"limit\": " << Number(row.limit)
        << ", \"memory_bound\": " << (row.memory_bound ? "true" : "false") << ", \"of_library\": "
        << (peer == library.end() ? "null" : Number(peer->second / row.seconds))
        << ", \"error\": " << Number(row.error) << "}";
  }
  out << "\n ]}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace aios::ladder
