#include "common/sched/sequence.h"

namespace aios {

std::string_view Name(SequenceState state) {
  switch (state) {
    case SequenceState::kWaiting:
      return "waiting";
    case SequenceState::kPrefilling:
      return "prefilling";
    case SequenceState::kRunning:
      return "running";
    case SequenceState::kPreempted:
      return "preempted";
    case SequenceState::kFinished:
      return "finished";
    case SequenceState::kAborted:
      return "aborted";
  }
  return "?";
}

}  // namespace aios
