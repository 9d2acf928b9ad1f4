// What graders are made of. A grader, NAME_check.cc, is a main() that calls the function that a
// reader wrote with one case after another, compares with what it should give, and stops at the
// first that is wrong, with a hint:
//
//   int main() {
//     BeginCase("[3, 4], weight [1, 1]");
//     ...
//     ExpectNear(expected, yours, {.hint = "...", .mistakes = {{"did you ...?", wrong_answer}}});
//     ...
//     return Passed();
//   }
//
// One process grades one exercise: what follows keeps its state in globals, and is for one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aios::exercise {

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string Format(const char* format, ...);

// "[3, 4]"; of more than 8 numbers the first ones and how many there are.
std::string Text(std::span<const float> numbers);
std::string Text(std::span<const int32_t> numbers);

// Random numbers that are the same on every machine (SplitMix64), unlike those of <random>'s
// distributions.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  int Int(int low, int high);  // low to high, both included
  float Float(float low, float high);
  std::vector<float> Floats(size_t n, float low = -2, float high = 2);

 private:
  uint64_t state_;
};

// ---- Cases
// ---------------------------------------------------------------------------------------

// From here on we are at this case: a failure names it, and so does a crash or an endless loop.
void BeginCase(const std::string& name);

// Ends the program: what is wrong, in lines of one's own, and a hint of one line.
[[noreturn]] void Fail(const std::string& what, std::string_view hint);

inline void Expect(bool ok, const std::string& what, std::string_view hint) {
  if (!ok) Fail(what, hint);
}

// A wrong answer that one knows how to get to.
template <class T>
struct Mistake {
  std::string_view hint;
  std::vector<T> answer;
};

template <class T>
struct Hints {
  std::string_view hint;                  // if it is none of these
  std::vector<Mistake<T>> mistakes = {};  // looked at in this order
};

// |yours - expected| <= 1e-4 * (1 + |expected|): far above the rounding of f32 in the sizes here,
// far below what a mistake makes.
void ExpectNear(std::span<const float> expected, std::span<const float> yours,
                const Hints<float>& hints);
void ExpectEqual(std::span<const int32_t> expected, std::span<const int32_t> yours,
                 const Hints<int32_t>& hints);
void ExpectEqual(std::string_view what, int64_t expected, int64_t yours,
                 const std::vector<std::pair<int64_t, std::string_view>>& mistakes,
                 std::string_view hint);

// The last statement of main().
[[nodiscard]] int Passed();

// ---- Memory that objects
// -------------------------------------------------------------------------

// Numbers that end where a page ends, with a page after them that nobody may touch: the first
// access beyond them crashes, at once and always. Their address is a multiple of sizeof(T), no
// more.
template <class T>
class Fenced {
 public:
  explicit Fenced(size_t size) : Fenced(std::vector<T>(size)) {}
  explicit Fenced(std::span<const T> values);
  explicit Fenced(const std::vector<T>& values) : Fenced(std::span<const T>(values)) {}
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  ~Fenced();

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::span<T> span() { return {data_, size_}; }

  // Fails if numbers before the first one were written.
  void CheckBefore() const;

 private:
  void* pages_ = nullptr;
  size_t n_bytes_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

// What graders fill an output with before it is written; ExpectNear knows it.
inline constexpr float kUntouched = -54321.0F;
inline std::vector<float> Untouched(size_t n) { return std::vector<float>(n, kUntouched); }

// ---- Speed
// ---------------------------------------------------------------------------------------

// The shortest of `n_tries` calls, in seconds. Others disturb a time, they never make it shorter.
double BestSeconds(int n_tries, void (*work)(void*), void* argument);
template <class Work>
double BestSeconds(int n_tries, Work work) {
  return BestSeconds(
      n_tries, [](void* argument) { (*static_cast<Work*>(argument))(); }, &work);
}

}  // namespace aios::exercise
