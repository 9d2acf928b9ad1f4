// Grades Generate with a model that says what it is told to, and writes down what it is asked.
#include <algorithm>

#include "generation_loop.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

const char* NameOf(Finish finish) {
  switch (finish) {
    case Finish::kStopToken:
      return "kStopToken";
    case Finish::kMaxTokens:
      return "kMaxTokens";
    case Finish::kStoppedByReader:
      return "kStoppedByReader";
  }
  return "no Finish";
}

struct Want {
  size_t n_tokens;
  size_t n_shown;
  Finish finish;
};

// `says`: what the model answers, one after another. The reader stops after `patience` tokens.
void Check(const std::string& name, const Request& request, const std::vector<int32_t>& says,
           size_t patience, const Want& want) {
  BeginCase(name);
  size_t n_calls = 0;
  std::vector<int32_t> shown;
  const NextToken model = [&](std::span<const int32_t> sequence) {
    if (n_calls >= want.n_tokens) {
      Fail(Format("the model was asked once more, after %zu tokens", n_calls),
           want.n_tokens == 0
               ? "max_new_tokens is 0: there is nothing to ask"
               : "nobody uses that answer: look whether to stop before you ask again");
    }
    std::vector<int32_t> expected = request.prompt;
    expected.insert(expected.end(), says.begin(), says.begin() + static_cast<ptrdiff_t>(n_calls));
    ExpectEqual(expected, sequence,
                {.hint = "the model is asked about prompt and answer so far, in this order",
                 .mistakes = {{"the model must see its own answer: put each token at the end",
                               request.prompt},
                              {"the model must see the prompt too, not the answer alone",
                               {says.begin(), says.begin() + static_cast<ptrdiff_t>(n_calls)}}}});
    const std::vector<int32_t> should_be_shown(says.begin(),
                                               says.begin() + static_cast<ptrdiff_t>(n_calls));
    Expect(shown.size() == n_calls,
           Format("when asked for token %zu, the reader had been shown %zu tokens", n_calls,
                  shown.size()),
           "on_token gets each token before the model is asked for the next");
    return says[n_calls++];
  };
  const OnToken reader = [&](int32_t token) {
    shown.push_back(token);
    return shown.size() < patience;
  };
  const Answer answer = Generate(request, model, reader);

  if (answer.tokens.empty() && n_calls == 0 && want.n_tokens > 0) {
    Fail("the model was never asked", "the loop does not run: is this still the stub?");
  }
  const auto first = [&](size_t n) {
    return std::vector<int32_t>(says.begin(), says.begin() + static_cast<ptrdiff_t>(n));
  };
  std::vector<int32_t> with_prompt = request.prompt;
  with_prompt.insert(with_prompt.end(), says.begin(),
                     says.begin() + static_cast<ptrdiff_t>(want.n_tokens));
  std::vector<Mistake<int32_t>> mistakes = {
      {"the answer's tokens do not have the prompt in front", with_prompt}};
  if (want.n_tokens > 0) {
    mistakes.push_back({want.finish == Finish::kStopToken
                            ? "the stop token is the last of the answer's tokens"
                        : want.finish == Finish::kStoppedByReader
                            ? "a token that was shown belongs to the answer"
                            : "one token is missing: count those that the model has given",
                        first(want.n_tokens - 1)});
  }
  ExpectEqual(
      first(want.n_tokens), answer.tokens,
      {.hint = "the answer is what the model said, up to where it should stop; a stop token in "
               "the prompt stops nothing",
       .mistakes = mistakes});
  Expect(shown.size() == want.n_shown,
         Format("the reader should be shown %zu tokens, was shown %s", want.n_shown,
                Text(shown).c_str()),
         shown.size() > want.n_shown ? "nobody is shown the stop token"
                                     : "each token but a stop token is shown, the last one too");
  Expect(answer.finish == want.finish,
         Format("finish should be %s, yours is %s", NameOf(want.finish), NameOf(answer.finish)),
         "if two reasons hold at once, the order in the header decides");
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  constexpr size_t kPatient = 1000;
  const std::vector<int32_t> says = {7, 8, 2, 9, 9, 9, 9, 9, 9, 9};
  Check("the header's example", {{5, 6}, 10, {2}}, says, kPatient, {3, 2, Finish::kStopToken});
  Check("max_new_tokens 2", {{5, 6}, 2, {2}}, says, kPatient, {2, 2, Finish::kMaxTokens});
  Check("max_new_tokens 1", {{5}, 1, {}}, says, kPatient, {1, 1, Finish::kMaxTokens});
  Check("max_new_tokens 0", {{5}, 0, {}}, says, kPatient, {0, 0, Finish::kMaxTokens});
  Check("no stop tokens", {{5, 6}, 6, {}}, says, kPatient, {6, 6, Finish::kMaxTokens});
  Check("a stop token in the prompt", {{5, 2, 6}, 10, {2}}, says, kPatient,
        {3, 2, Finish::kStopToken});
  Check("the second of two stop tokens comes first", {{1}, 10, {2, 8}}, says, kPatient,
        {2, 1, Finish::kStopToken});
  Check("the model stops at once", {{1}, 10, {7}}, says, kPatient, {1, 0, Finish::kStopToken});
  Check("the reader stops after 2 tokens", {{1}, 10, {2}}, says, 2,
        {2, 2, Finish::kStoppedByReader});
  Check("the stop token is also the last token allowed", {{1}, 3, {2}}, says, kPatient,
        {3, 2, Finish::kStopToken});
  Check("the reader stops at the last token allowed", {{1}, 2, {2}}, says, 2,
        {2, 2, Finish::kMaxTokens});
  return Passed();
}
