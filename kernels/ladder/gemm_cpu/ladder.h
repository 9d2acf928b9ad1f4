// The GEMM ladder as a table: each level is held against double precision, and then timed.
// ladder_gemm_cpu prints it; so does lesson 03.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "kernels/ladder/gemm_cpu/gemm_cpu.h"

namespace aios::ladder::gemm_cpu {

// Throws std::runtime_error, naming shape and element, unless `run` writes all of y, nothing past
// it, and each element within the rounding of a sum of k products of floats in any order.
void Check(const std::string& name, const std::function<void(const GemmArgs&)>& run,
           const GemmArgs& shape);

// Check for many small shapes: one element, fewer and more than every tile, and none at all.
void CheckShapes(const std::string& name, const std::function<void(const GemmArgs&)>& run);

struct Options {
  int64_t m = 768;
  int64_t n = 768;
  int64_t k = 768;
  int n_threads = 0;      // of the last level; 0: one for each core
  int repeats = 5;        // a level's time is their median
  double seconds = 0.25;  // repeat further until a level has had this much

  // Another program's product, to stand under the levels: the engine's own, or a library's.
  struct Peer {
    std::string name;
    std::function<void(const GemmArgs&)> run;
  };
  std::optional<Peer> peer = std::nullopt;
};

struct Row {
  int level = 0;  // 0: the peer
  std::string name;
  double seconds = 0;            // median of one product
  double gflop_s = 0;            // 2 m n k / seconds / 1e9
  double times_level_above = 0;  // its speed over that of the row above; 1 for the first
  double of_peak = 0;            // fraction of the table's peak
};

struct Table {
  Options options;          // n_threads filled in
  double peak_gflop_s = 0;  // registers only, all cores: MeasurePeak
  double core_gflop_s = 0;  // the same of one core, all that levels 1 to 4 have
  std::vector<Row> rows;
};

// Checks every level and the peer, and times them on random numbers. Takes some 4 seconds as it is
// set. Throws std::runtime_error if one is wrong, std::invalid_argument if a size is not positive.
Table RunLadder(const Options& options = {});

void Print(const Table& table, std::ostream& out);
void WriteJson(const Table& table, std::ostream& out);

}  // namespace aios::ladder::gemm_cpu
