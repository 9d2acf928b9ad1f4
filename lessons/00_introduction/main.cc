// Lesson 00: introduction.
//
// Boots: asks the machine what it is, measures the two numbers that decide how fast a language
// model can run on it, counts what the model needs, and predicts from both. Nothing runs yet: no
// weight is read. The later lessons run, and each can be held against its prediction.
#include <optional>

#include "common/base/cli.h"
#include "common/base/write_file.h"
#include "common/profile/machine_profile.h"
#include "lessons/00_introduction/draw_roofline.h"
#include "lessons/00_introduction/flags.h"
#include "lessons/00_introduction/predict.h"
#include "lessons/00_introduction/print.h"
#include "lessons/00_introduction/report.h"

namespace {

using namespace aios;
using namespace aios::lessons;

int RunLesson(int argc, char** argv) {
  // Flags; the model's config. What is wrong with either is found before anything is measured.
  const Flags flags = ParseFlags(argc, argv);
  const Subject subject = OpenSubject(flags, argv[0]);
  std::FILE* out = flags.json == "-" ? stderr : stdout;

  // Boot: this machine, or the data sheet of another.
  std::optional<MachineProfile> profile;
  if (flags.machine.empty()) {
    profile = ProfileMachine(flags.threads, ProfileFolder(), flags.probe_again);
    PrintMachine(out, *profile);
  }
  const std::vector<DeviceLimits> devices =
      ChooseDevices(flags, profile.has_value() ? LimitsOf(*profile) : std::vector<DeviceLimits>());

  // Before: what the model is, on any machine.
  PrintModel(out, subject);

  // After: what each device makes of it.
  std::vector<DevicePrediction> predictions;
  for (const DeviceLimits& device : devices) {
    const DevicePrediction& p = predictions.emplace_back(PredictDevice(subject, device));
    PrintDevice(out, subject, p);
    fmt::print(out, "{}", RooflineText(p));
    PrintLessons(out, subject.config, p);
  }

  // Report.
  if (!flags.svg.empty()) WriteFile("--svg", flags.svg, RooflineSvg(predictions));
  if (!flags.json.empty()) {
    WriteFile("--json", flags.json, ReportOf(profile, subject, predictions).dump(1) + "\n");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
