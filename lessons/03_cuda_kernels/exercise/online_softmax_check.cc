// Grades AddBlock and Finish against a softmax of all scores at once, in double.
#include <algorithm>

#include "online_softmax.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

// The attention output; `exponent` of a score may be computed wrongly.
template <class Exponent>
std::vector<float> Attention(const std::vector<float>& scores, const std::vector<float>& values,
                             size_t head_dim, Exponent exponent) {
  std::vector<double> weighted(head_dim);
  double sum = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double p = std::exp(exponent(i));
    sum += p;
    for (size_t d = 0; d < head_dim; ++d) weighted[d] += p * values[i * head_dim + d];
  }
  std::vector<float> out;
  for (const double w : weighted) out.push_back(static_cast<float>(sum == 0 ? 0 : w / sum));
  return out;
}

void Check(const std::string& name, const std::vector<float>& scores,
           const std::vector<float>& values, size_t head_dim, const std::vector<size_t>& blocks) {
  std::string sizes;
  for (const size_t n : blocks) sizes += Format(" %zu", n);
  BeginCase(name + Format(": %zu scores in blocks of%s, head_dim %zu", scores.size(), sizes.c_str(),
                          head_dim));
  SoftmaxState state(head_dim);
  std::vector<float> block_max;  // of each score's block, and the largest up to it
  std::vector<float> running_max;
  size_t begin = 0;
  for (const size_t n : blocks) {
    const Fenced<float> block(std::span<const float>(scores).subspan(begin, n));
    const Fenced<float> rows(
        std::span<const float>(values).subspan(begin * head_dim, n * head_dim));
    AddBlock(state, {block.data(), n}, {rows.data(), n * head_dim});
    float max = -INFINITY;
    for (size_t i = begin; i < begin + n; ++i) max = std::max(max, scores[i]);
    block_max.insert(block_max.end(), n, max);
    running_max.insert(running_max.end(), n,
                       std::max(max, running_max.empty() ? -INFINITY : running_max.back()));
    begin += n;
  }
  Fenced<float> out(Untouched(head_dim));
  Finish(state, out.span());

  const double max = scores.empty() ? 0 : *std::max_element(scores.begin(), scores.end());
  const bool visible = max > -INFINITY;
  const std::vector<float> right = Attention(
      scores, values, head_dim, [&](size_t i) { return visible ? scores[i] - max : -INFINITY; });
  std::vector<Mistake<float>> mistakes;
  if (visible) {
    mistakes.push_back(
        {"what was summed before a larger score came must be multiplied by exp(old max - new max)",
         Attention(scores, values, head_dim,
                   [&](size_t i) { return double{scores[i]} - running_max[i]; })});
    mistakes.push_back(
        {"did a later block lower the maximum? It is the largest of all scores so far",
         Attention(scores, values, head_dim,
                   [&](size_t i) { return double{scores[i]} - block_max[i]; })});
  }
  for (size_t d = 0; d < head_dim; ++d) {
    if (!std::isnan(out.data()[d])) continue;
    if (!visible) {
      Fail("no score was above -infinity: should be zeros, yours is " + Text(out.span()),
           "0 / 0 is not a number: look whether sum is 0");
    }
    const bool hidden = std::find(scores.begin(), scores.end(), -INFINITY) != scores.end();
    Fail("should be " + Text(right) + "\nyours is  " + Text(out.span()),
         hidden ? "-infinity - -infinity is not a number: what if all scores so far are hidden?"
                : "exp of a large number is infinite: subtract the largest score so far first");
  }
  ExpectNear(
      right, out.span(),
      {.hint = "when the maximum grows, both sum and weighted are multiplied by exp(old max - "
               "new max), once",
       .mistakes = mistakes});
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  const std::vector<float> by_hand = {0, std::log(2.0F), std::log(4.0F)};
  Check("the header's example, at once", by_hand, {10, 40, 80}, 1, {3});
  Check("the header's example", by_hand, {10, 40, 80}, 1, {2, 1});
  Check("falling scores", {3, 2, 1, 0}, {1, 2, 3, 4}, 1, {2, 2});
  Check("one score far above the later ones", {300, 1, 0, 2}, {1, 2, 3, 4}, 1, {1, 3});
  Check("rising scores", {0, 1, 2, 3}, {1, 2, 3, 4}, 1, {1, 1, 1, 1});
  Check("large scores", {9000, 9001, 8990, 9002}, {1, 2, 3, 4, 5, 6, 7, 8}, 2, {2, 2});
  Check("very negative scores", {-9000, -9001, -9002}, {1, 2, 3}, 1, {1, 2});

  constexpr float kHidden = -INFINITY;
  Check("some are hidden", {1, kHidden, 2, kHidden}, {1, 2, 3, 4}, 1, {2, 2});
  Check("a hidden block in the middle", {1, kHidden, kHidden, 2}, {1, 2, 3, 4}, 1, {1, 2, 1});
  Check("the first block is hidden", {kHidden, kHidden, 1, 2}, {1, 2, 3, 4}, 1, {2, 2});
  Check("all are hidden", {kHidden, kHidden}, {1, 2}, 1, {1, 1});
  Check("no tokens at all", {}, {}, 3, {0});

  Random random(3);
  for (const size_t head_dim : {1, 5, 64}) {
    std::vector<size_t> blocks;
    size_t n = 0;
    for (int i = 0; i < 9; ++i) n += blocks.emplace_back(random.Int(0, 17));
    Check("random", random.Floats(n, -30, 30), random.Floats(n * head_dim), head_dim, blocks);
  }
  return Passed();
}
