// Grades Sample. Each case draws with many numbers and compares how often each token came with the
// probabilities that it should have; what a likely mistake would give is compared as well.
#include <algorithm>
#include <cmath>

#include "sampling.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

// The steps of the header, each of which may be done wrongly.
struct Ways {
  bool times_temperature = false;
  bool p_before_k = false;
  bool without_crossing = false;
  bool larger_first = false;
  bool ignores_k = false;
  bool ignores_p = false;
};

struct Candidate {
  int32_t token;
  double probability;
};

void Normalize(std::vector<Candidate>& candidates) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += c.probability;
  for (Candidate& c : candidates) c.probability /= sum;
}

std::vector<Candidate> Candidates(std::span<const float> logits, const SamplingParams& params,
                                  const Ways& ways) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double x = logits[i] - largest;
    candidates.push_back(
        {static_cast<int32_t>(i),
         std::exp(ways.times_temperature ? x * params.temperature : x / params.temperature)});
  }
  Normalize(candidates);
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    if (a.probability != b.probability) return a.probability > b.probability;
    return ways.larger_first ? a.token > b.token : a.token < b.token;
  });
  const auto top_k = [&] {
    if (params.top_k == 0 || ways.ignores_k) return;
    candidates.resize(std::min<size_t>(params.top_k, candidates.size()));
    Normalize(candidates);
  };
  if (!ways.p_before_k) top_k();
  if (!ways.ignores_p) {
    double mass = 0;
    size_t n = 0;
    while (n < candidates.size() && mass < params.top_p) mass += candidates[n++].probability;
    if (ways.without_crossing && n > 1 && mass > params.top_p) --n;
    candidates.resize(n);
    Normalize(candidates);
  }
  if (ways.p_before_k) top_k();
  return candidates;
}

constexpr int kDraws = 400;
double UniformOf(int draw) { return (draw + 0.37) / kDraws; }

// The token that each of the numbers draws.
std::vector<int32_t> Drawn(const std::vector<Candidate>& candidates) {
  std::vector<int32_t> drawn;
  for (int i = 0; i < kDraws; ++i) {
    double walked = 0;
    size_t at = 0;
    while (at + 1 < candidates.size() && walked + candidates[at].probability <= UniformOf(i)) {
      walked += candidates[at++].probability;
    }
    drawn.push_back(candidates[at].token);
  }
  return drawn;
}

void Check(std::string name, const std::vector<float>& logits, const SamplingParams& params) {
  name += Format(", temperature %g, top_k %d, top_p %g", params.temperature, params.top_k,
                 params.top_p);
  BeginCase(name);
  std::vector<int32_t> yours;
  for (int i = 0; i < kDraws; ++i) yours.push_back(Sample(logits, params, UniformOf(i)));
  for (const int32_t token : yours) {
    if (token >= 0 && static_cast<size_t>(token) < logits.size()) continue;
    Fail(Format("your token is %d; there are tokens 0 to %zu", token, logits.size() - 1),
         "that is no token: does every path return one? Is this still the stub?");
  }
  if (params.temperature == 0) {
    const auto best =
        static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    for (const int32_t token : yours) {
      Expect(token == best, Format("should be token %d, yours is %d", best, token),
             "temperature 0 takes the most likely token (the first of equal ones): nothing is "
             "divided by it, and `uniform` is not used");
    }
    return;
  }

  const std::vector<int32_t> right = Drawn(Candidates(logits, params, {}));
  // A sum may lie so close to a number that rounding decides: one draw at each candidate's border.
  const auto agrees = [&](const std::vector<int32_t>& other) {
    int n_different = 0;
    for (int i = 0; i < kDraws; ++i) n_different += yours[i] != other[i] ? 1 : 0;
    return n_different <= 2;
  };
  if (agrees(right)) return;

  size_t at = 0;
  while (yours[at] == right[at]) ++at;
  int n_different = 0;
  for (int i = 0; i < kDraws; ++i) n_different += yours[i] != right[i] ? 1 : 0;
  const std::string what =
      Format("uniform %.4f should draw token %d, yours is %d; %d of %d draws differ",
             UniformOf(static_cast<int>(at)), right[at], yours[at], n_different, kDraws);
  const auto wrong = [&](const Ways& ways) {
    const std::vector<int32_t> other = Drawn(Candidates(logits, params, ways));
    return other != right && agrees(other);
  };
  const char* hint =
      "compare with the header's example: candidates in the order of their "
      "probability, largest first, then add up";
  if (wrong({.times_temperature = true})) {
    hint = "logits are divided by the temperature: did you multiply?";
  } else if (wrong({.without_crossing = true})) {
    hint = "the token with which the sum reaches top_p belongs to those that stay";
  } else if (wrong({.p_before_k = true})) {
    hint = "top-p looks at what top-k left, after that was made to add up to 1 again";
  } else if (wrong({.larger_first = true})) {
    hint = "of equally likely tokens the smaller one comes first";
  } else if (wrong({.ignores_k = true})) {
    hint = "is top_k applied?";
  } else if (wrong({.ignores_p = true})) {
    hint = "is top_p applied?";
  }
  Fail(what, hint);
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  const std::vector<float> by_hand = {0, std::log(4.0F), std::log(2.0F), std::log(3.0F)};
  Check("the header's logits [ln 1, ln 4, ln 2, ln 3]", by_hand, {});
  Check("the header's logits", by_hand, {.temperature = 0});
  Check("the header's logits", by_hand, {.temperature = 0.5F});
  Check("the header's logits", by_hand, {.temperature = 2});
  Check("the header's logits", by_hand, {.top_k = 3});
  Check("the header's logits", by_hand, {.top_p = 0.65F});
  Check("the header's logits", by_hand, {.top_k = 3, .top_p = 0.43F});
  Check("the header's logits, top_k beyond them", by_hand, {.top_k = 9});
  Check("equal logits [1, 1, 1, 1, 1]", {1, 1, 1, 1, 1}, {.top_k = 2});
  Check("equal logits [1, 1, 1]", {1, 1, 1}, {.temperature = 0});
  Check("a single logit [-3]", {-3}, {.top_k = 1, .top_p = 0.1F});

  BeginCase("logits [1000, 999, 0]");
  Expect(Sample(std::vector<float>{1000, 999, 0}, {}, 0.9) == 1,
         Format("uniform 0.9 should draw token 1, yours is %d",
                Sample(std::vector<float>{1000, 999, 0}, {}, 0.9)),
         "exp(1000) is infinite: subtract the largest logit before exp");

  Random random(2);
  for (const int vocab_size : {2, 37, 500}) {
    const std::vector<float> logits = random.Floats(vocab_size, -4, 4);
    for (const SamplingParams& params :
         {SamplingParams{.temperature = 0.8F}, SamplingParams{.temperature = 1.3F, .top_k = 7},
          SamplingParams{.temperature = 0.7F, .top_p = 0.83F},
          SamplingParams{.temperature = 0.9F, .top_k = 11, .top_p = 0.72F}}) {
      Check(Format("%d random logits", vocab_size), logits, params);
    }
  }
  return Passed();
}
