#include "lessons/05_batching/trace_events.h"

#include <cmath>

#include "common/base/json.h"
#include "common/base/utf8.h"

namespace aios::lessons {
namespace {

constexpr int kStepsThread = 0;  // requests have theirs from 1 on

int64_t Microseconds(double seconds) { return std::llround(seconds * 1e6); }

// One process of the trace.
class Process {
 public:
  Process(Json& events, int pid) : events_(events), pid_(pid) {}

  void Name(const char* what, int64_t tid, const std::string& name) {
    Json event = New("M", what, tid);
    event["args"]["name"] = name;
    events_.push_back(std::move(event));
  }

  void Slice(const std::string& name, int64_t tid, double begin, double end, Json arguments) {
    Json event = New("X", name, tid);
    event["ts"] = Microseconds(begin);
    event["dur"] = Microseconds(end) - Microseconds(begin);  // so that neighbours touch
    event["args"] = std::move(arguments);
    events_.push_back(std::move(event));
  }

  void Instant(const std::string& name, int64_t tid, double at) {
    Json event = New("i", name, tid);
    event["ts"] = Microseconds(at);
    event["s"] = "t";  // of its thread
    events_.push_back(std::move(event));
  }

  void Counter(const std::string& name, double at, int64_t value) {
    Json event = New("C", name, 0);
    event["ts"] = Microseconds(at);
    event["args"][name] = value;
    events_.push_back(std::move(event));
  }

 private:
  Json New(const char* phase, const std::string& name, int64_t tid) const {
    return {{"ph", phase}, {"name", name}, {"pid", pid_}, {"tid", tid}};
  }

  Json& events_;
  int pid_;
};

void AddRequest(Process& process, const RequestLine& line, int64_t tid) {
  process.Name("thread_name", tid,
               line.user.empty()
                   ? fmt::format("request {}", line.id)
                   : fmt::format("request {}, {}", line.id, ReplaceInvalidUtf8(line.user)));
  for (const Span& span : line.spans) {
    process.Slice(std::string(Name(span.state)), tid, span.begin, span.end,
                  {{"prompt_tokens", line.n_prompt}, {"priority", line.priority}});
  }
  for (const double time : line.token_times) process.Instant("token", tid, time);
}

void AddStep(Process& process, const StepLine& step) {
  process.Slice("step", kStepsThread, step.begin, step.end,
                {{"rows", step.n_rows}, {"sequences", step.n_seqs}});
  process.Counter("rows", step.begin, step.n_rows);
  process.Counter("sequences", step.begin, step.n_seqs);
  process.Counter("pages", step.begin, step.pages_used);
}

}  // namespace

std::string TraceEvents(const std::vector<Timeline>& timelines) {
  Json events = Json::array();
  int pid = 0;
  for (const Timeline& timeline : timelines) {
    Process process(events, ++pid);
    process.Name("process_name", 0, timeline.mode);
    process.Name("thread_name", kStepsThread, "steps");
    int64_t tid = kStepsThread;
    for (const RequestLine& line : timeline.requests) AddRequest(process, line, ++tid);
    for (const StepLine& step : timeline.steps) AddStep(process, step);
    for (const char* counter : {"rows", "sequences", "pages"}) {
      process.Counter(counter, timeline.seconds, 0);
    }
  }
  const Json trace = {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
  return trace.dump() + "\n";
}

}  // namespace aios::lessons
