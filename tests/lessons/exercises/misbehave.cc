// A grader with a solution that goes wrong in the way that its argument names.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "tools/exercises/grader.h"

namespace {

volatile int zero = 0;

int Deep(volatile int* from) {
  if (*from < 0) return 0;
  volatile int here[1000] = {*from};
  return Deep(here) + here[999];
}

void Misbehave(std::string_view how) {
  using namespace aios::exercise;
  if (how == "wrong") {
    ExpectNear(std::vector<float>{1, 2}, std::vector<float>{1, 3}, {.hint = "is it the sum?"});
  } else if (how == "segfault") {
    printf("debugging\n");
    *reinterpret_cast<volatile int*>(8 + zero) = 1;
  } else if (how == "past_the_end") {
    Fenced<float> numbers(std::vector<float>{1, 2, 3});
    numbers.data()[3 + zero] = 4;
  } else if (how == "recursion") {
    Deep(&zero);
  } else if (how == "divide") {
    raise(SIGFPE);  // as x86 does for 1 / 0; ARM does not
  } else if (how == "throw") {
    throw std::runtime_error("a reader's own");
  } else if (how == "memory") {
    std::vector<float> all(size_t{1} << 40);
    all[zero] = 1;
  } else if (how == "loop" || how == "loop_deaf") {
    if (how == "loop_deaf") signal(SIGTERM, SIG_IGN);
    while (zero == 0) {
    }
  } else if (how == "flood") {
    while (zero == 0) printf("here I am\n");
  } else if (how == "exit") {
    exit(0);
  } else if (how == "exit_1") {
    exit(1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  aios::exercise::BeginCase("the first case");
  Misbehave(argc > 1 ? argv[1] : "not");
  return aios::exercise::Passed();
}
