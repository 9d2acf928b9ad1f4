// The report that every lesson writes with --json, so that lessons can be compared, and the same
// for people.
//
//   {"schema": 1, "lesson", "machine": {...}, "model": {...},
//    "runs": [{"name": "before" | "after", "backend", "dtype", "outputs": [...], "ttft_ms", ...}],
//    "checks": [{"name", "ok", "detail"}], "moved": {"metric", "before", "after", "ratio"},
//    "figures": {NAME: NUMBER, ...}}
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/engine/generate.h"
#include "common/model/model.h"
#include "common/profile/probe.h"

namespace aios {

// One prompt and what came of it.
struct Output {
  std::vector<TokenId> prompt_ids;
  Generation generation;
};

// One way of computing the workload.
struct Run {
  std::string name;     // "before" or "after"
  std::string backend;  // "reference", "cpu", "cuda"
  std::string dtype;    // "f32", "bf16"
  std::vector<Output> outputs = {};
  int64_t bytes_per_token = 0;  // that a decode step must read at least
  double seqs_per_step = 1;     // on average: more than 1 if requests shared steps
  int64_t peak_bytes = 0;       // of memory that the process had held when the run ended
  // Bytes/s that the GPU was measured to read; 0 if the run was on the CPU: Report::read_bandwidth.
  double gpu_read_bandwidth = 0;
  double wall_seconds = 0;  // from when the first request came to the last token of all
  // During which some request waited for its first token; 0: one after the other did.
  double prefill_seconds = 0;

  // Over all prompts.
  double ttft_ms() const;        // time to first token: the median
  double tpot_ms() const;        // time per output token after the first; 0 if no prompt had any
  double prefill_tok_s() const;  // prompt tokens per second until the first token
  double decode_tok_s() const;   // of an answer, after its first token
  // Tokens of all answers per second, whichever of them shared steps: throughput.
  double output_tok_s() const;
  double bytes_per_second() const { return static_cast<double>(bytes_per_token) * decode_tok_s(); }
};

struct Check {
  std::string name;
  bool ok = false;
  std::string detail;
};

// The one number that the lesson is about.
struct Moved {
  std::string metric;
  double before = 0;
  double after = 0;
};

struct Report {
  std::string lesson;  // "02_running_an_llm"
  MachineInfo machine;
  int n_threads = 0;
  double read_bandwidth =
      0;  // bytes/s that this machine was measured to read: the roofline of decoding
  std::vector<Run> runs;
  std::vector<Check> checks;
  Moved moved;
  // What else a lesson measured: a name with its unit, and the number.
  std::vector<std::pair<std::string, double>> figures = {};

  // The roofline of a run's decoding, in bytes/s, and the fraction of it that the run reached.
  double Roofline(const Run& run) const {
    return run.gpu_read_bandwidth > 0 ? run.gpu_read_bandwidth : read_bandwidth;
  }
  double RooflineFraction(const Run& run) const { return run.bytes_per_second() / Roofline(run); }
  bool AllChecksOk() const;
};

// Writes the report as JSON to a file, or to standard output if `path` is "-". Throws InputError if
// it cannot be written.
void WriteReport(const Report& report, const Model& model, const std::string& path);

}  // namespace aios
