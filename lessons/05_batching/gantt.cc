#include "lessons/05_batching/gantt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace aios::lessons {
namespace {

struct Look {
  SequenceState state;
  char mark;
  std::string_view colour;
  std::string_view name;
};
constexpr std::array<Look, 4> kLooks = {{
    {SequenceState::kWaiting, '.', "#d5dae2", "waiting"},
    {SequenceState::kPrefilling, '#', "#3a6ea5", "prefilling"},
    {SequenceState::kRunning, '=', "#1f8a5b", "decoding"},
    {SequenceState::kPreempted, 'x', "#c23b3b", "preempted"},
}};

const Look& LookOf(SequenceState state) { return *std::ranges::find(kLooks, state, &Look::state); }

// What the request did for most of the time that it was there from begin to end; ' ' if it was not.
char MarkFor(const RequestLine& line, double begin, double end) {
  std::array<double, kLooks.size()> seconds = {};
  double present = 0;
  for (const Span& span : line.spans) {
    const double overlap = std::min(end, span.end) - std::max(begin, span.begin);
    if (overlap <= 0) continue;
    seconds[&LookOf(span.state) - kLooks.data()] += overlap;
    present += overlap;
  }
  if (present == 0) return ' ';
  return kLooks[std::ranges::max_element(seconds) - seconds.begin()].mark;
}

// User and number, as wide as the widest.
std::vector<std::string> Labels(const Timeline& timeline) {
  std::vector<std::string> labels;
  size_t widest = 0;
  for (const RequestLine& line : timeline.requests) {
    const std::string user = ShortName(line.user);
    labels.push_back(fmt::format("{}{}{:>2}", user, user.empty() ? "" : " ", line.id));
    widest = std::max(widest, labels.back().size());
  }
  for (std::string& label : labels) label = fmt::format("{:>{}}", label, widest);
  return labels;
}

// "0.5", and as many of them as fit: 1, 2 or 5 times a power of ten.
double TickFor(double seconds, int most) {
  double tick = std::pow(10, std::floor(std::log10(seconds / most)));
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    if (seconds / (tick * factor) <= most) return tick * factor;
  }
  return tick * 10;
}

std::string XmlEscaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

// The colours and the geometry of the SVG.
class SvgChart {
 public:
  explicit SvgChart(const std::vector<Timeline>& timelines) {
    size_t n_lines = 0;
    for (const Timeline& timeline : timelines) {
      seconds_ = std::max(seconds_, timeline.seconds);
      n_lines += timeline.requests.size();
    }
    height_ = kTop + kAxis + static_cast<double>(timelines.size()) * kHead +
              static_cast<double>(n_lines) * kRow;
    if (seconds_ <= 0) seconds_ = 1;
    Begin();
    double y = kTop;
    for (const Timeline& timeline : timelines) y = Draw(timeline, y);
    Axis(y);
  }

  std::string Take() && { return std::move(svg_) + "</svg>\n"; }

 private:
  static constexpr double kLeft = 110;
  static constexpr double kRight = 840;
  static constexpr double kTop = 56;
  static constexpr double kHead = 34;
  static constexpr double kRow = 11;
  static constexpr double kAxis = 44;

  double X(double seconds) const { return kLeft + (kRight - kLeft) * seconds / seconds_; }

  void Text(double x, double y, std::string_view words, std::string_view anchor = "start",
            double size = 12.5, std::string_view colour = "#1c2430") {
    svg_ += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{}\">{}"
        "</text>\n",
        x, y, size, colour, anchor, XmlEscaped(words));
  }

  void Begin() {
    svg_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 {0:.0f}\" width=\"860\" "
        "height=\"{0:.0f}\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', "
        "sans-serif\">\n<title>Who ran when</title>\n<rect width=\"860\" height=\"{0:.0f}\" "
        "fill=\"#ffffff\"/>\n",
        height_);
    Text(20, 28, "Who ran when", "start", 15);
    double x = 220;
    for (const Look& look : kLooks) {
      svg_ += fmt::format("<rect x=\"{:.0f}\" y=\"18\" width=\"14\" height=\"10\" fill=\"{}\"/>\n",
                          x, look.colour);
      Text(x + 20, 28, look.name);
      x += 110;
    }
    Text(x, 28, "| a token");
  }

  double Draw(const Timeline& timeline, double y) {
    Text(20, y + 20, timeline.mode, "start", 13);
    Text(kRight, y + 20,
         fmt::format("{:.2f} s, {:.1f} tokens/s", timeline.seconds, timeline.tokens_per_second()),
         "end", 12.5, "#5b6676");
    y += kHead;
    for (const RequestLine& line : timeline.requests) {
      Text(kLeft - 8, y + 8, fmt::format("{} {}", ShortName(line.user), line.id), "end", 9,
           "#5b6676");
      for (const Span& span : line.spans) {
        svg_ += fmt::format(
            "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.0f}\" fill=\"{}\"/>\n",
            X(span.begin), y, X(span.end) - X(span.begin), kRow - 2, LookOf(span.state).colour);
      }
      std::string marks;
      for (const double time : line.token_times) {
        marks += fmt::format("M{:.2f} {:.1f}v{:.0f}", X(time), y, kRow - 2);
      }
      if (!marks.empty()) {
        svg_ += fmt::format("<path d=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.6\"/>\n", marks);
      }
      y += kRow;
    }
    return y;
  }

  void Axis(double y) {
    svg_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#5b6676\"/>\n",
        kLeft, y + 8, kRight, y + 8);
    const double tick = TickFor(seconds_, 10);
    for (int i = 0; i * tick <= seconds_; ++i) {
      Text(X(i * tick), y + 24, fmt::format("{:.3g} s", i * tick), "middle", 11, "#5b6676");
    }
  }

  double seconds_ = 0;
  double height_ = 0;
  std::string svg_;
};

}  // namespace

std::string GanttText(const Timeline& timeline, double seconds, int width) {
  if (seconds <= 0) seconds = 1;
  const std::vector<std::string> labels = Labels(timeline);
  std::string text;
  const size_t n_shown = std::min(timeline.requests.size(), kMaxGanttLines);
  for (size_t i = 0; i < n_shown; ++i) {
    std::string bar;
    for (int x = 0; x < width; ++x) {
      bar += MarkFor(timeline.requests[i], seconds * x / width, seconds * (x + 1) / width);
    }
    text += fmt::format("  {} |{}|\n", labels[i], bar);
  }
  if (n_shown < timeline.requests.size()) {
    text += fmt::format("  and {} more\n", timeline.requests.size() - n_shown);
  }
  return text;
}

std::string GanttSvg(const std::vector<Timeline>& timelines) { return SvgChart(timelines).Take(); }

}  // namespace aios::lessons
