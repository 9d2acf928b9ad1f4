// The command line of lesson 00.
#pragma once

#include <cstdint>
#include <string>

namespace aios::lessons {

struct Flags {
  std::string model;    // a path; empty: the model that Bazel fetched
  std::string shape;    // the name of a published shape; empty: none
  std::string weights;  // the name of a format; empty: as the model has them
  std::string on = "both";
  std::string machine;        // the name of a published machine; empty: this one
  int64_t prompt_tokens = 0;  // 0: not given
  int64_t context = 0;        // 0: not given
  int threads = 0;            // 0: one for each core
  bool probe_again = false;
  std::string json;  // empty: none; "-": standard output
  std::string svg;   // empty: none
};

// Prints the help and exits 0 if asked; throws InputError for what cannot be, and for a file that
// cannot be written.
Flags ParseFlags(int argc, char** argv);

}  // namespace aios::lessons
