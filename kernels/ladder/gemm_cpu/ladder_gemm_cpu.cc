// ladder_gemm_cpu [--size N] [--threads N] [--json FILE]: checks and times the five levels.
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

#include "kernels/ladder/gemm_cpu/ladder.h"

namespace {

namespace ladder = aios::ladder::gemm_cpu;

constexpr char kUsage[] =
    "usage: ladder_gemm_cpu [--size N] [--threads N] [--json FILE]\n"
    "  --size N     multiply matrices of N x N (default 768)\n"
    "  --threads N  threads of the last level (default: one for each core)\n"
    "  --json FILE  write the table there, too\n";

// A whole number from 1 to `largest`, so that nobody allocates the machine away by a typing error.
int Number(const std::string& flag, const std::string& text, int largest) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < 1 || value > largest) {
    throw std::invalid_argument(flag + " wants a number from 1 to " + std::to_string(largest) +
                                ", not '" + text + "'");
  }
  return static_cast<int>(value);
}

int Main(int argc, char** argv) {
  ladder::Options options;
  std::string json;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help") {
      std::cout << kUsage;
      return 0;
    }
    if (flag != "--size" && flag != "--threads" && flag != "--json") {
      throw std::invalid_argument("unknown flag '" + flag + "'");
    }
    if (i + 1 == argc) throw std::invalid_argument(flag + " wants a value");
    const std::string value = argv[++i];
    if (flag == "--size") options.m = options.n = options.k = Number(flag, value, 8192);
    if (flag == "--threads") options.n_threads = Number(flag, value, 1024);
    if (flag == "--json") json = value;
  }
  const ladder::Table table = ladder::RunLadder(options);
  ladder::Print(table, std::cout);
  if (!json.empty()) {
    std::ofstream file(json);
    ladder::WriteJson(table, file);
    if (!file.flush()) throw std::invalid_argument("cannot write '" + json + "'");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::cerr << "ladder_gemm_cpu: " << error.what() << "\n" << kUsage;
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "ladder_gemm_cpu: " << error.what() << "\n";
    return 1;
  }
}
