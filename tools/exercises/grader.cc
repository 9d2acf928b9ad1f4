#include "tools/exercises/grader.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace aios::exercise {
namespace {

// What a signal handler may read: no allocation, no locks.
char case_line[512];
size_t case_line_size = 0;
int n_cases = 0;

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL, SIGTRAP, SIGTERM};
struct sigaction former_actions[64];

// Says at which case it happened, then lets the signal do what it did before: it ends the program,
// or a sanitizer shows where it came from.
void OnSignal(int number, siginfo_t* info, void* /*context*/) {
  const ssize_t ignored = write(STDOUT_FILENO, case_line, case_line_size);
  (void)ignored;
  sigaction(number, &former_actions[number], nullptr);
  // A bad access happens again once we return, with its true address; what was sent does not.
  if (info->si_code <= 0 || number == SIGTRAP) raise(number);
}

// On a stack of its own: a function that calls itself forever has used up the other one.
void CatchSignals() {
  static char stack[1 << 16];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof(stack);
  sigaltstack(&alternate, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = OnSignal;
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  for (const int number : kSignals) sigaction(number, &action, &former_actions[number]);
}

template <class T>
std::string TextOf(std::span<const T> numbers, const char* format) {
  constexpr size_t kMost = 8;
  std::string text = "[";
  for (size_t i = 0; i < numbers.size() && i < kMost; ++i) {
    text += (i == 0 ? "" : ", ") + Format(format, numbers[i]);
  }
  return text + (numbers.size() > kMost ? Format(", ...] (%zu)", numbers.size()) : "]");
}

bool Near(float expected, float yours) {
  // Equal infinities are near; NaN is near nothing.
  return yours == expected || std::abs(yours - expected) <= 1e-4F * (1 + std::abs(expected));
}
bool Near(int32_t expected, int32_t yours) { return expected == yours; }

template <class T>
size_t FirstDifference(std::span<const T> expected, std::span<const T> yours) {
  size_t i = 0;
  while (i < expected.size() && Near(expected[i], yours[i])) ++i;
  return i;
}

template <class T>
void Compare(std::span<const T> expected, std::span<const T> yours, const Hints<T>& hints) {
  const bool same_size = expected.size() == yours.size();
  const size_t at = same_size ? FirstDifference<T>(expected, yours) : 0;
  if (same_size && at == expected.size()) return;

  std::string what = "should be " + Text(expected) + "\nyours is  " + Text(yours);
  if (same_size && at >= 8) {
    // Out of sight in the lines above.
    const size_t n = std::min<size_t>(expected.size() - at, 4);
    what += Format("\nfrom number %zu on it should be %s, yours is %s", at,
                   Text(expected.subspan(at, n)).c_str(), Text(yours.subspan(at, n)).c_str());
  }
  for (const auto& [hint, answer] : hints.mistakes) {
    if (answer.size() == yours.size() &&
        FirstDifference<T>(std::span<const T>(answer), yours) == answer.size()) {
      Fail(what, hint);
    }
  }
  Fail(what, hints.hint);
}

}  // namespace

std::string Format(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string Text(std::span<const float> numbers) { return TextOf(numbers, "%.4g"); }
std::string Text(std::span<const int32_t> numbers) { return TextOf(numbers, "%d"); }

uint64_t Random::Next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

int Random::Int(int low, int high) {
  return low + static_cast<int>(Next() % static_cast<uint64_t>(high - low + 1));
}

float Random::Float(float low, float high) {
  return low + (high - low) * static_cast<float>(Next() >> 40) / (1 << 24);
}

std::vector<float> Random::Floats(size_t n, float low, float high) {
  std::vector<float> numbers(n);
  for (float& number : numbers) number = Float(low, high);
  return numbers;
}

void BeginCase(const std::string& name) {
  if (n_cases++ == 0) {
    CatchSignals();
    setvbuf(stdout, nullptr, _IOLBF, 0);  // What a reader prints is not lost in a crash.
  }
  const int size = snprintf(case_line, sizeof(case_line), "\nat case: %s\n", name.c_str());
  case_line_size = std::min(static_cast<size_t>(size), sizeof(case_line) - 1);
}

void Fail(const std::string& what, std::string_view hint) {
  // case_line begins and ends with a line break; "at " is for the runner.
  printf("%s%s\nhint: %.*s\n", case_line + 1, what.c_str(), static_cast<int>(hint.size()),
         hint.data());
  fflush(stdout);
  _exit(1);
}

void ExpectNear(std::span<const float> expected, std::span<const float> yours,
                const Hints<float>& hints) {
  if (expected.size() == yours.size()) {
    size_t n_untouched = 0;
    size_t first = 0;
    for (size_t i = yours.size(); i-- > 0;) {
      if (yours[i] != kUntouched) continue;
      ++n_untouched;
      first = i;
    }
    if (n_untouched > 0 && n_untouched == yours.size()) {
      Fail("nothing was written to the output",
           "the output is as it was: is this still the stub, or are the sizes too small for your "
           "loop?");
    }
    if (n_untouched > 0) {
      Fail(Format("%zu of %zu numbers were never written, the first of them at index %zu",
                  n_untouched, yours.size(), first),
           "does the loop end too early? Think of sizes that are no multiple of your step");
    }
  }
  Compare(expected, yours, hints);
}

void ExpectEqual(std::span<const int32_t> expected, std::span<const int32_t> yours,
                 const Hints<int32_t>& hints) {
  Compare(expected, yours, hints);
}

void ExpectEqual(std::string_view what, int64_t expected, int64_t yours,
                 const std::vector<std::pair<int64_t, std::string_view>>& mistakes,
                 std::string_view hint) {
  if (expected == yours) return;
  const std::string line =
      Format("%.*s should be %lld, yours is %lld", static_cast<int>(what.size()), what.data(),
             static_cast<long long>(expected), static_cast<long long>(yours));
  for (const auto& [answer, why] : mistakes) {
    if (answer == yours) Fail(line, why);
  }
  Fail(line, hint);
}

int Passed() {
  printf("PASSED %d cases\n", n_cases);
  fflush(stdout);
  return 0;
}

template <class T>
Fenced<T>::Fenced(std::span<const T> values) : size_(values.size()) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  // At least one byte before the numbers, whose pattern CheckBefore looks at.
  const size_t n_pages = values.size_bytes() / page + 1;
  n_bytes_ = (n_pages + 1) * page;
  pages_ = mmap(nullptr, n_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages_ == MAP_FAILED) Fail("the grader got no memory", "is there any left on this machine?");
  auto* end = static_cast<std::byte*>(pages_) + n_pages * page;
  mprotect(end, page, PROT_NONE);
  data_ = reinterpret_cast<T*>(end - values.size_bytes());
  if (!values.empty()) memcpy(data_, values.data(), values.size_bytes());
}

template <class T>
Fenced<T>::~Fenced() {
  munmap(pages_, n_bytes_);
}

template <class T>
void Fenced<T>::CheckBefore() const {
  for (const auto* p = static_cast<const std::byte*>(pages_);
       p != reinterpret_cast<std::byte*>(data_); ++p) {
    Expect(*p == std::byte{0}, "memory before the output was written",
           "is an index negative, or the row's start wrong?");
  }
}

template class Fenced<float>;
template class Fenced<uint8_t>;

double BestSeconds(int n_tries, void (*work)(void*), void* argument) {
  double best = INFINITY;
  for (int i = 0; i < n_tries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work(argument);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::min(best, seconds.count());
  }
  return best;
}

}  // namespace aios::exercise
