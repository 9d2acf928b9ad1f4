// main() of a fuzz target built as an ordinary test: gives LLVMFuzzerTestOneInput the contents of
// each file named on the command line. A crash, a failed check or a sanitizer's finding fails it.

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "The corpus is empty: nothing was tested.\n";
    return 1;
  }
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    // The name goes out before the run: after a crash it is the last line.
    std::cerr << argv[i] << std::endl;
    if (!file) {
      std::cerr << "cannot be opened\n";
      return 1;
    }
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  std::cerr << argc - 1 << " inputs, no crash\n";
  return 0;
}
