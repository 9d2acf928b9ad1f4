#include "kernels/ladder/gemm_cpu/ladder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <ostream>
#include <random>
#include <stdexcept>
#include <thread>

#include "kernels/ladder/gemm_cpu/peak.h"

namespace aios::ladder::gemm_cpu {
namespace {

using Run = std::function<void(const GemmArgs&)>;

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

std::string ShapeName(const GemmArgs& args) {
  return std::to_string(args.m) + " x " + std::to_string(args.n) + " x " + std::to_string(args.k);
}

// Holds some rows of y, every `step`-th, against sums in double.
void CheckRows(const std::string& name, const GemmArgs& args, int64_t step) {
  // Adding k products of floats in any order errs by less than this times the sum of their absolute
  // values (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1).
  const double tolerance = static_cast<double>(args.k) * std::numeric_limits<float>::epsilon() / 2;
  for (int64_t i = 0; i < args.m; i += step) {
    for (int64_t j = 0; j < args.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t d = 0; d < args.k; ++d) {
        const double product = double{args.x[i * args.k + d]} * args.w[j * args.k + d];
        sum += product;
        magnitude += std::abs(product);
      }
      const double got = args.y[i * args.n + j];
      if (std::abs(got - sum) <= 1.01 * tolerance * magnitude) continue;  // false for NaN
      throw std::runtime_error(name + ", " + ShapeName(args) + ": y[" + std::to_string(i) + "][" +
                               std::to_string(j) + "] is " + std::to_string(got) + " and not " +
                               std::to_string(sum));
    }
  }
}

double MedianSeconds(const Run& run, const GemmArgs& args, const Options& options) {
  std::vector<double> times;
  for (double total = 0;
       static_cast<int>(times.size()) < options.repeats || total < options.seconds;) {
    const auto start = std::chrono::steady_clock::now();
    run(args);
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    total += times.back();
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char text[200];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

}  // namespace

void Check(const std::string& name, const Run& run, const GemmArgs& shape) {
  // Behind y stand numbers that are changed by any other one written and by adding zero to them.
  constexpr float kGuard = -0.0F;
  constexpr int64_t kGuards = 256;
  const int64_t size = shape.m * shape.n;
  const auto x = Normal(shape.m * shape.k, 1);
  const auto w = Normal(shape.n * shape.k, 2);
  std::vector<float> y(size + kGuards, kGuard);
  std::fill_n(y.begin(), size, NAN);
  GemmArgs args = shape;
  args.x = x.data();
  args.w = w.data();
  args.y = y.data();
  run(args);
  CheckRows(name, args, 1);
  const bool intact = std::all_of(y.begin() + size, y.end(),
                                  [](float guard) { return guard == 0 && std::signbit(guard); });
  if (!intact) {
    throw std::runtime_error(name + ", " + ShapeName(args) + ": wrote past the end of y");
  }
}

void CheckShapes(const std::string& name, const Run& run) {
  for (const int64_t m : {1, 3, 17, 65}) {
    for (const int64_t n : {1, 17, 63, 130}) {
      for (const int64_t k : {0, 1, 33, 64, 257}) {
        Check(name, run, {.m = m, .n = n, .k = k, .n_threads = 3});
      }
    }
  }
  Check(name, run, {.m = 130, .n = 70, .k = 33, .n_threads = 2});
  Check(name, run, {.m = 13, .n = 1030, .k = 70, .n_threads = 5});  // more than level 4's block
  Check(name, run, {.m = 2, .n = 3, .k = 5, .n_threads = 64});      // threads without work
  Check(name, run, {.m = 0, .n = 3, .k = 5, .n_threads = 2});
  Check(name, run, {.m = 3, .n = 0, .k = 5, .n_threads = 2});
}

Table RunLadder(const Options& options) {
  if (options.m <= 0 || options.n <= 0 || options.k <= 0 || options.n_threads < 0) {
    throw std::invalid_argument("a ladder needs sizes of at least 1");
  }
  // 0 where the system does not say.
  const int n_cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  Table table;
  table.options = options;
  if (options.n_threads == 0) table.options.n_threads = n_cores;
  table.core_gflop_s = MeasurePeak(1) / 1e9;
  table.peak_gflop_s = MeasurePeak(n_cores) / 1e9;

  const auto x = Normal(options.m * options.k, 1);
  const auto w = Normal(options.n * options.k, 2);
  std::vector<float> y(options.m * options.n);
  const GemmArgs args = {.m = options.m,
                         .n = options.n,
                         .k = options.k,
                         .x = x.data(),
                         .w = w.data(),
                         .y = y.data(),
                         .n_threads = table.options.n_threads};
  const auto add_row = [&](int level, const std::string& name, const Run& run) {
    CheckShapes(name, run);
    std::fill(y.begin(), y.end(), NAN);
    run(args);  // warms up, too
    CheckRows(name, args, std::max<int64_t>(1, args.m / 7));
    Row row = {.level = level, .name = name, .seconds = MedianSeconds(run, args, options)};
    row.gflop_s = 2e-9 * static_cast<double>(args.m * args.n * args.k) / row.seconds;
    row.times_level_above = table.rows.empty() ? 1 : row.gflop_s / table.rows.back().gflop_s;
    row.of_peak = row.gflop_s / table.peak_gflop_s;
    table.rows.push_back(row);
  };
  for (const Level& level : Levels()) add_row(level.number, std::string(level.name), level.run);
  if (options.peer) add_row(0, options.peer->name, options.peer->run);
  return table;
}

void Print(const Table& table, std::ostream& out) {
  const Options& options = table.options;
  out << "y = x W^T, f32: " << ShapeName({.m = options.m, .n = options.n, .k = options.k}) << "; "
      << options.n_threads << (options.n_threads == 1 ? " thread" : " threads") << "\n"
      << Format("peak (multiply-adds in registers, all cores): %.1f GFLOP/s; one core: %.1f\n\n",
                table.peak_gflop_s, table.core_gflop_s)
      << "level  name                           ms   GFLOP/s  x above  of peak\n";
  for (const Row& row : table.rows) {
    const std::string level = row.level == 0 ? "-" : std::to_string(row.level);
    out << Format("%5s  %-26s %8.2f  %8.2f  %6.1fx  %6.1f%%\n", level.c_str(), row.name.c_str(),
                  row.seconds * 1e3, row.gflop_s, row.times_level_above, row.of_peak * 100);
  }
}

// Names are ours or a peer's, without a quote or a backslash; all numbers are finite.
void WriteJson(const Table& table, std::ostream& out) {
  const Options& options = table.options;
  out << "{\"schema\": 1, \"op\": \"gemm_cpu\", \"m\": " << options.m << ", \"n\": " << options.n
      << ", \"k\": " << options.k << ", \"n_threads\": " << options.n_threads
      << Format(",\n \"peak_gflop_s\": %.6g, \"core_gflop_s\": %.6g,\n \"rows\": [",
                table.peak_gflop_s, table.core_gflop_s);
  const char* separator = "\n  ";
  for (const Row& row : table.rows) {
    out << separator << "{\"level\": " << row.level << ", \"name\": \"" << row.name
        << Format("\", \"seconds\": %.6g, \"gflop_s\": %.6g, \"of_peak\": %.6g}", row.seconds,
                  row.gflop_s, row.of_peak);
    separator = ",\n  ";
  }
  out << "\n ]}\n";
}

}  // namespace aios::ladder::gemm_cpu
