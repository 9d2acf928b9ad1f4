// What lesson 05 shows of a run, drawn from timelines that are written down here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/json.h"
#include "common/sched/scheduler.h"
#include "lessons/05_batching/gantt.h"
#include "lessons/05_batching/timeline.h"
#include "lessons/05_batching/top.h"
#include "lessons/05_batching/trace_events.h"

namespace aios::lessons {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = SchedulerEvent::Kind;

constexpr auto kWaiting = SequenceState::kWaiting;
constexpr auto kPrefilling = SequenceState::kPrefilling;
constexpr auto kRunning = SequenceState::kRunning;
constexpr auto kPreempted = SequenceState::kPreempted;

// Two requests in 10 s.
Timeline TwoRequests() {
  return {.mode = "continuous",
          .requests = {{.id = 0,
                        .user = "ann",
                        .n_prompt = 7,
                        .arrival = 0,
                        .spans = {{kWaiting, 0, 1}, {kPrefilling, 1, 3}, {kRunning, 3, 8}},
                        .token_times = {3, 4, 8}},
                       {.id = 12,
                        .user = "b<&>b",
                        .priority = 2,
                        .n_prompt = 5,
                        .arrival = 2,
                        .spans = {{kWaiting, 2, 3},
                                  {kPrefilling, 3, 4},
                                  {kRunning, 4, 5},
                                  {kPreempted, 5, 7},
                                  {kRunning, 7, 10}},
                        .token_times = {4, 10},
                        .n_preemptions = 1}},
          .steps = {{.begin = 1, .end = 3, .n_rows = 7, .n_seqs = 1, .pages_used = 2},
                    {.begin = 3, .end = 4, .n_rows = 6, .n_seqs = 2, .pages_used = 5}},
          .seconds = 10};
}

// ---- Timeline ----------------------------------------------------------------------------------

TEST(Timeline, AddsUp) {
  const Timeline t = TwoRequests();
  EXPECT_EQ(t.n_tokens(), 5);
  EXPECT_DOUBLE_EQ(t.tokens_per_second(), 0.5);
  EXPECT_THAT(t.Ttfts(), ElementsAre(3, 2));
  EXPECT_THAT(t.TokenGaps(), ElementsAre(1, 4, 6));
  EXPECT_DOUBLE_EQ(t.MeanRows(), 6.5);
  EXPECT_DOUBLE_EQ(t.MeanSeqs(), 1.5);
  EXPECT_EQ(t.MaxPages(), 5);
  EXPECT_EQ(t.n_preemptions(), 1);
  EXPECT_DOUBLE_EQ(t.PrefillSeconds(), 4);  // 0 to 3 and 2 to 4
}

TEST(Timeline, OfNothingIsZero) {
  const Timeline t;
  EXPECT_EQ(t.tokens_per_second(), 0);
  EXPECT_EQ(t.MeanRows(), 0);
  EXPECT_EQ(t.MeanSeqs(), 0);
  EXPECT_EQ(t.PrefillSeconds(), 0);
}

// A recorder whose clock began at 100, and what happens to sequences.
class RecorderTest : public testing::Test {
 protected:
  void Arrive(SequenceId id, double at) {
    Sequence& s = sequences_[id];
    s.request = {.id = id, .user = "u", .n_prompt = 8, .max_new_tokens = 2};
    recorder_.Arrived(s.request, 100 + at);
  }
  void Happen(Kind kind, SequenceId id, SequenceState state, double at, int64_t n_tokens = 0) {
    sequences_[id].state = state;
    recorder_.Event(
        {.kind = kind, .time = 100 + at, .sequence = sequences_[id], .n_tokens = n_tokens});
  }
  static std::vector<std::vector<double>> TimesOf(const RequestLine& line) {
    std::vector<std::vector<double>> times;
    for (const Span& span : line.spans) times.push_back({span.begin, span.end});
    return times;
  }

  std::map<SequenceId, Sequence> sequences_;
  Recorder recorder_{"mode", 100, /*patience=*/5};
};

TEST_F(RecorderTest, APromptIsPrefilledUntilTheEndOfItsStep) {
  Arrive(3, 0.5);
  Happen(Kind::kSubmitted, 3, kWaiting, 1);
  Happen(Kind::kAdmitted, 3, kPrefilling, 2, 4);
  Happen(Kind::kComputed, 3, kRunning, 2, 4);  // planned now, done when the step is
  recorder_.Token(3, 103);
  recorder_.Step({.begin = 102, .end = 103, .n_rows = 4, .n_seqs = 1});
  Happen(Kind::kComputed, 3, kRunning, 3, 1);
  recorder_.Token(3, 104);
  Happen(Kind::kFinished, 3, SequenceState::kFinished, 4);
  recorder_.Step({.begin = 103, .end = 104, .n_rows = 1, .n_seqs = 1});
  const Timeline t = recorder_.Take(104);
  ASSERT_EQ(t.requests.size(), 1);
  const RequestLine& line = t.requests[0];
  EXPECT_THAT(TimesOf(line),
              ElementsAre(ElementsAre(0.5, 2), ElementsAre(2, 3), ElementsAre(3, 4)));
  EXPECT_EQ(line.spans[1].state, kPrefilling);
  EXPECT_EQ(line.spans[2].state, kRunning);
  EXPECT_EQ(line.n_cached, 4);
  EXPECT_THAT(line.token_times, ElementsAre(3, 4));
  EXPECT_DOUBLE_EQ(line.ttft(), 2.5);
  EXPECT_DOUBLE_EQ(t.seconds, 4);
  EXPECT_DOUBLE_EQ(t.steps[1].begin, 3);
}

TEST_F(RecorderTest, WhoIsPreemptedWaitsAndGoesOn) {
  Arrive(0, 0);
  Happen(Kind::kAdmitted, 0, kPrefilling, 0);
  Happen(Kind::kComputed, 0, kRunning, 0, 8);
  Happen(Kind::kPreempted, 0, kPreempted, 1, 8);
  recorder_.Step({.begin = 100, .end = 101});  // its prompt's step ends after it
  Happen(Kind::kResumed, 0, kPrefilling, 3);
  Happen(Kind::kAborted, 0, SequenceState::kAborted, 4);
  const Timeline t = recorder_.Take(104);
  std::vector<SequenceState> states;
  for (const Span& span : t.requests[0].spans) states.push_back(span.state);
  EXPECT_THAT(states, ElementsAre(kWaiting, kPrefilling, kPreempted, kPrefilling));
  EXPECT_EQ(t.requests[0].n_preemptions, 1);
  EXPECT_EQ(t.requests[0].n_recomputed, 8);
  EXPECT_DOUBLE_EQ(t.requests[0].end(), 4);
}

TEST_F(RecorderTest, CountsThoseWhoArePassedOverAfterTheirPatience) {
  Arrive(0, 0);
  Arrive(1, 1);
  Arrive(2, 2);
  Happen(Kind::kAdmitted, 1, kPrefilling, 4.9);  // 0 has waited for less than 5
  Happen(Kind::kAdmitted, 2, kPrefilling, 5.1);  // now it has not
  Happen(Kind::kAdmitted, 0, kPrefilling, 9);    // those who came later do not count
  EXPECT_EQ(recorder_.Take(110).n_passed_over, 1);
}

TEST_F(RecorderTest, LeavesAloneWhatIsNotOfTheWorkload) {
  Happen(Kind::kAdmitted, 9, kPrefilling, 1);
  recorder_.Token(9, 101);
  EXPECT_TRUE(recorder_.Take(101).requests.empty());
}

TEST(ShortName, CutsBetweenCharacters) {
  EXPECT_EQ(ShortName("ann"), "ann");
  EXPECT_EQ(ShortName("a\nb"), "a\\x0ab");
  EXPECT_EQ(ShortName("äöüäöüäöüäöüäöü"), "äöüäöüäöüäöü");
}

// ---- Gantt -------------------------------------------------------------------------------------

TEST(GanttText, HasALineForEachRequest) {
  EXPECT_EQ(GanttText(TwoRequests(), 10, 20),
            "    ann  0 |..####==========    |\n"
            "  b<&>b 12 |    ..##==xxxx======|\n");
  // On another run's axis.
  EXPECT_EQ(GanttText(TwoRequests(), 20, 10),
            "    ann  0 |.#==      |\n"
            "  b<&>b 12 | .===     |\n");
}

TEST(GanttText, ShowsWhatIsShorterThanAColumn) {
  Timeline t = TwoRequests();
  t.requests.resize(1);
  t.requests[0].spans = {{kRunning, 4.6, 4.7}};
  EXPECT_EQ(GanttText(t, 10, 10), "  ann  0 |    =     |\n");
}

TEST(GanttText, OfManyRequestsIsShort) {
  Timeline t = TwoRequests();
  t.requests.resize(100, t.requests[0]);
  const std::string text = GanttText(t, 10, 10);
  EXPECT_EQ(std::ranges::count(text, '\n'), static_cast<int64_t>(kMaxGanttLines) + 1);
  EXPECT_THAT(text, HasSubstr("and 68 more"));
  EXPECT_EQ(GanttText({}, 0, 10), "");
}

TEST(GanttSvg, DrawsEverySpanAndEscapesNames) {
  const std::string svg = GanttSvg({TwoRequests(), TwoRequests()});
  size_t n_rects = 0;
  for (size_t at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1)) {
    ++n_rects;
  }
  EXPECT_EQ(n_rects, 1 + 4 + 2 * (3 + 5));  // background, legend, spans
  EXPECT_THAT(svg, HasSubstr("b&lt;&amp;>b 12"));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
  EXPECT_THAT(GanttSvg({}), testing::EndsWith("</svg>\n"));
}

// ---- Top ---------------------------------------------------------------------------------------

TEST(TopText, IsPsAndVmstatAndStrace) {
  const TopFrame frame = {
      .mode = "continuous",
      .time = 1.5,
      .processes =
          {{.id = 7, .user = "bob", .priority = 2, .state = kWaiting, .age = 0.25, .waiting = 0.25},
           {.id = 3,
            .user = "ann",
            .state = kRunning,
            .n_computed = 120,
            .n_sampled = 21,
            .n_pages = 2,
            .age = 1.5}},
      .n_pages = 100,
      .n_used = 12,
      .n_shared = 3,
      .n_evictable = 8,
      .n_free = 80,
      .n_swapped = 4,
      .n_rows = 33,
      .n_seqs = 2,
      .max_seqs = 8,
      .tokens_per_second = 14,
      .events = {"one", "two"}};
  EXPECT_EQ(
      TopText(frame),
      "top - 1.50 s, continuous; requests: 1 waiting, 0 prefilling, 1 running, 0 preempted; 14.0 "
      "tokens/s\n"
      "pages   100 total, 12 used (3 shared), 8 evictable, 80 free; 4 swapped out\n"
      "step    33 rows of 2 sequences; 1 of 8 places taken\n"
      "   ID USER          PR S STATE      TOKENS ANSWER PAGES     AGE WAITING\n"
      "    3 ann            0 R running       120     21     2    1.50       -\n"
      "    7 bob            2 W waiting         0      0     0    0.25    0.25\n"
      "one\ntwo\n");
}

TEST(TopText, OfManyIsShort) {
  TopFrame frame;
  frame.processes.resize(100);
  EXPECT_THAT(TopText(frame), HasSubstr("      and 76 more\n"));
}

TEST(EventText, SaysWhatCameOfIt) {
  Sequence s = {.request = {.id = 7, .user = "ann", .n_prompt = 90, .max_new_tokens = 12}};
  s.n_sampled = 5;
  const auto text = [&](Kind kind, int64_t n_tokens) {
    return EventText(
        {.kind = kind, .time = 10.412, .step = 17, .sequence = s, .n_tokens = n_tokens}, 10);
  };
  EXPECT_EQ(text(Kind::kSubmitted, 0),
            "    0.412  step 17    submitted(7, ann) = 90 tokens, at most 12 new");
  EXPECT_EQ(text(Kind::kAdmitted, 64), "    0.412  step 17    admitted(7, ann) = 64 known");
  EXPECT_EQ(text(Kind::kComputed, 26), "    0.412  step 17    computed(7, ann) = 26 rows");
  EXPECT_EQ(text(Kind::kComputed, 1), "");  // that is every step
  EXPECT_EQ(text(Kind::kPreempted, 9),
            "    0.412  step 17    preempted(7, ann) = 9 to compute again");
  EXPECT_EQ(text(Kind::kFinished, 0), "    0.412  step 17    finished(7, ann) = 5 tokens");
}

TEST(Top, ClearsATerminalAndNotAFile) {
  for (const bool on_terminal : {true, false}) {
    std::string shown;
    Top top(on_terminal, [&](std::string_view text) { shown += text; });
    top.Begin(5);
    EXPECT_TRUE(top.IsDue(5));
    Sequence s = {.request = {.id = 1}};
    for (int i = 0; i < 20; ++i) {
      top.Event({.kind = Kind::kAdmitted, .time = 5, .step = i, .sequence = s});
    }
    top.Draw({.mode = "m"}, 5);
    EXPECT_FALSE(top.IsDue(5.05));
    EXPECT_EQ(top.IsDue(5.2), on_terminal);
    EXPECT_EQ(shown.starts_with("\033[H"), on_terminal);
    EXPECT_EQ(shown.find('\033', 1) == std::string::npos, !on_terminal);
    EXPECT_THAT(shown, HasSubstr("step 19 "));
    EXPECT_THAT(shown, testing::Not(HasSubstr("step 11 ")));  // the last eight only
  }
}

// ---- Trace events ------------------------------------------------------------------------------

TEST(TraceEvents, AreWhatChromeReads) {
  const Json trace = ParseJson(TraceEvents({TwoRequests(), TwoRequests()}), "trace");
  std::map<std::string, int> phases;
  std::set<int64_t> processes;
  std::map<std::pair<int64_t, int64_t>, int64_t> last_end;  // of a thread's slices
  for (const Json& event : trace["traceEvents"]) {
    ++phases[event["ph"]];
    processes.insert(event["pid"].get<int64_t>());
    EXPECT_TRUE(event["name"].is_string());
    EXPECT_TRUE(event["tid"].is_number_integer());
    if (event["ph"] != "M") {
      EXPECT_GE(event["ts"].get<int64_t>(), 0);
    }
    if (event["ph"] != "X") continue;
    int64_t& end = last_end[{event["pid"], event["tid"]}];
    EXPECT_GE(event["ts"].get<int64_t>(), end) << "slices of a thread must not overlap";
    end = event["ts"].get<int64_t>() + event["dur"].get<int64_t>();
  }
  EXPECT_THAT(processes, ElementsAre(1, 2));
  // A name for each process, its steps and requests; spans and steps; tokens; counters, and their
  // end.
  EXPECT_EQ(phases["M"], 2 * 4);
  EXPECT_EQ(phases["X"], 2 * (8 + 2));
  EXPECT_EQ(phases["i"], 2 * 5);
  EXPECT_EQ(phases["C"], 2 * (2 * 3 + 3));
}

TEST(TraceEvents, SayWhoAndWhen) {
  const Json trace = ParseJson(TraceEvents({TwoRequests()}), "trace");
  const Json preempted = {{"ph", "X"},
                          {"name", "preempted"},
                          {"pid", 1},
                          {"tid", 2},
                          {"ts", 5'000'000},
                          {"dur", 2'000'000},
                          {"args", {{"prompt_tokens", 5}, {"priority", 2}}}};
  EXPECT_THAT(trace["traceEvents"], testing::Contains(preempted));
  const Json pages = {{"ph", "C"}, {"name", "pages"}, {"pid", 1},
                      {"tid", 0},  {"ts", 3'000'000}, {"args", {{"pages", 5}}}};
  EXPECT_THAT(trace["traceEvents"], testing::Contains(pages));
}

}  // namespace
}  // namespace aios::lessons
