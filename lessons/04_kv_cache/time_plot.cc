#include "lessons/04_kv_cache/time_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace aios::lessons {
namespace {

// The plane that both runs lie in, from (first, 0) to (last, top).
struct Axes {
  double first = 0;  // positions
  double last = 0;
  double top = 0;  // seconds

  double Along(double position) const {
    return last == first ? 0 : (position - first) / (last - first);
  }
  double Up(double seconds) const { return std::clamp(seconds / top, 0.0, 1.0); }
};

// Room for all but what is far slower than the rest: somebody else used the machine just then.
Axes AxesFor(const std::vector<TimePoint>& points) {
  const auto [first, last] = std::ranges::minmax(points, {}, &TimePoint::position);
  std::vector<double> seconds;
  for (const TimePoint& point : points) seconds.push_back(point.seconds);
  std::ranges::sort(seconds);
  const double high = seconds[static_cast<size_t>(0.95 * static_cast<double>(seconds.size() - 1))];
  return {.first = first.position, .last = last.position, .top = 1.15 * high};
}

std::vector<TimePoint> Together(std::vector<TimePoint> a, const std::vector<TimePoint>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::string Milliseconds(double seconds) {
  return fmt::format("{:.{}f} ms", seconds * 1e3, seconds < 0.0995 ? 1 : 0);
}

// The middle one of the times of a run's last tokens.
double AtTheEnd(std::vector<TimePoint> points) {
  std::ranges::sort(points, {}, &TimePoint::position);
  const size_t n = std::min<size_t>(points.size(), 9);
  std::vector<double> seconds;
  for (size_t i = points.size() - n; i < points.size(); ++i) seconds.push_back(points[i].seconds);
  std::ranges::sort(seconds);
  return seconds[n / 2];
}

}  // namespace

std::vector<TimePoint> TimePoints(const Run& run) {
  std::vector<TimePoint> points;
  for (const auto& [prompt_ids, generation] : run.outputs) {
    for (size_t i = 1; i < generation.token_seconds.size(); ++i) {
      points.push_back({.position = static_cast<double>(prompt_ids.size() + i),
                        .seconds = generation.token_seconds[i]});
    }
  }
  return points;
}

std::string TimePlotText(const Run& before, const Run& after) {
  constexpr int kWidth = 56;
  constexpr int kHeight = 12;
  const std::vector<TimePoint> slow = TimePoints(before);
  const std::vector<TimePoint> fast = TimePoints(after);
  if (slow.empty() || fast.empty()) return "";
  const Axes axes = AxesFor(Together(slow, fast));
  std::array<std::string, kHeight> cells;
  cells.fill(std::string(kWidth, ' '));
  const auto draw = [&](const std::vector<TimePoint>& points, char mark) {
    for (const TimePoint& point : points) {
      const auto x = std::lround(axes.Along(point.position) * (kWidth - 1));
      const auto y = std::lround((1 - axes.Up(point.seconds)) * (kHeight - 1));
      cells[y][x] = mark;
    }
  };
  draw(slow, 'o');
  draw(fast, '*');

  std::string text = "time per token, o before, * after\n";
  for (int y = 0; y < kHeight; ++y) {
    const std::string label =
        y == 0 ? Milliseconds(axes.top)
               : (y == kHeight / 2 ? Milliseconds(axes.top * (1 - y / (kHeight - 1.0))) : "");
    std::string line = fmt::format("         |{} {}", cells[y], label);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  const std::string begin = fmt::format("{:.0f}", axes.first);
  const std::string end = fmt::format("{:.0f} tokens before it", axes.last);
  text += "         +" + std::string(kWidth, '-') + "\n";
  text += fmt::format("          {}{:>{}}\n", begin, end, kWidth - begin.size());
  return text;
}

std::string TimePlotSvg(const Run& before, const Run& after) {
  constexpr double kLeft = 90;
  constexpr double kRight = 830;
  constexpr double kTop = 60;
  constexpr double kBottom = 370;
  const std::vector<TimePoint> slow = TimePoints(before);
  const std::vector<TimePoint> fast = TimePoints(after);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 430\" width=\"860\" "
      "height=\"430\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', "
      "sans-serif\" font-size=\"12.5\" fill=\"#1c2430\">\n<title>Time per token</title>\n"
      "<rect width=\"860\" height=\"430\" fill=\"#ffffff\"/>\n";
  const auto text = [&](double x, double y, std::string_view words, std::string_view colour,
                        std::string_view anchor) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\" text-anchor=\"{}\">{}</text>\n",
                       x, y, colour, anchor, words);
  };
  text(20, 30, "Time per token against the tokens before it", "#1c2430", "start");
  if (!slow.empty() && !fast.empty()) {
    const Axes axes = AxesFor(Together(slow, fast));
    const auto y_of = [&](double seconds) { return kBottom - (kBottom - kTop) * axes.Up(seconds); };
    const auto x_of = [&](double at) { return kLeft + (kRight - kLeft) * axes.Along(at); };
    for (int i = 0; i <= 4; ++i) {
      const double seconds = axes.top * i / 4;
      svg += fmt::format(
          "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#e3e7ed\"/>\n",
          kLeft, y_of(seconds), kRight, y_of(seconds));
      text(kLeft - 8, y_of(seconds) + 4, Milliseconds(seconds), "#5b6676", "end");
      const double at = axes.first + (axes.last - axes.first) * i / 4;
      text(x_of(at), kBottom + 20, fmt::format("{:.0f}", at), "#5b6676", "middle");
    }
    text((kLeft + kRight) / 2, kBottom + 44, "tokens before it", "#5b6676", "middle");
    const auto draw = [&](const std::vector<TimePoint>& points, std::string_view colour,
                          std::string_view name) {
      for (const TimePoint& point : points) {
        svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n",
                           x_of(point.position), y_of(point.seconds), colour);
      }
      const double end = AtTheEnd(points);
      text(kRight, y_of(end) - 10, fmt::format("{}: {} in the end", name, Milliseconds(end)),
           colour, "end");
    };
    draw(slow, "#c23b3b", "before");
    draw(fast, "#1f8a5b", "after");
  }
  return svg + "</svg>\n";
}

}  // namespace aios::lessons
