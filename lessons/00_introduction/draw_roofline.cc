#include "lessons/00_introduction/draw_roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "lessons/00_introduction/units.h"

namespace aios::lessons {
namespace {

// What is drawn of a device: a mark, its words, and where it is.
struct Point {
  char mark;
  std::string name;
  double intensity;  // FLOPs a byte
  double flop_s;     // at the roof there: the ceiling
};

double Roof(const DeviceLimits& device, double intensity) {
  return std::min(device.flop_s, intensity * device.read_bytes_s);
}

std::vector<Point> PointsOf(const DevicePrediction& p) {
  std::vector<Point> points;
  const auto add = [&](char mark, std::string name, double intensity) {
    points.push_back({mark, std::move(name), intensity, Roof(p.device, intensity)});
  };
  char mark = 'a';
  for (const BatchPrediction& b : p.batches) {
    if (b.batch != 1 && b.batch != 8 && b.batch != 64 && b.batch != 256) continue;
    add(mark++, fmt::format("decode, batch {}", b.batch), b.cost.intensity());
  }
  add('P', "prefill", p.prefill_cost.intensity());
  return points;
}

std::string EscapedXml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += static_cast<uint8_t>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// The axis of intensities, the same in all pictures, so that they can be compared.
constexpr double kMinIntensity = 0.125;
constexpr double kMaxIntensity = 4096;

double Along(double value, double min, double max) {  // 0 at min, 1 at max, logarithmic
  return std::log(value / min) / std::log(max / min);
}

}  // namespace

std::string RooflineText(const DevicePrediction& p) {
  constexpr int kWidth = 61;  // 15 octaves of 4 columns
  constexpr int kHeight = 14;
  const DeviceLimits& device = p.device;
  const double top = 1.6 * device.flop_s;
  const double bottom = Roof(device, kMinIntensity) / 1.6;
  const auto column = [&](double intensity) {
    const double at = Along(intensity, kMinIntensity, kMaxIntensity);
    return std::clamp(static_cast<int>(std::lround(at * (kWidth - 1))), 0, kWidth - 1);
  };
  const auto row = [&](double flop_s) {
    const double at = 1 - Along(flop_s, bottom, top);
    return std::clamp(static_cast<int>(std::lround(at * (kHeight - 1))), 0, kHeight - 1);
  };

  std::vector<std::string> cells(kHeight, std::string(kWidth, ' '));
  for (int x = 0; x < kWidth; ++x) {
    const double at = static_cast<double>(x) / (kWidth - 1);
    const double intensity = kMinIntensity * std::pow(kMaxIntensity / kMinIntensity, at);
    cells[row(Roof(device, intensity))][x] = intensity < device.ridge() ? '/' : '-';
  }
  for (int y = row(device.flop_s) + 1; y < kHeight; ++y) {
    char& cell = cells[y][column(device.ridge())];
    if (cell == ' ') cell = ':';
  }
  const std::vector<Point> points = PointsOf(p);
  for (const Point& point : points) {
    // Beside another, if its place is taken: the roof is what matters, not a column.
    int x = column(point.intensity);
    const int y = row(point.flop_s);
    while (x + 1 < kWidth && std::isalpha(static_cast<uint8_t>(cells[y][x])) != 0) ++x;
    cells[y][x] = point.mark;
  }

  std::string text = fmt::format("\nroofline {}, FLOP/s over FLOPs a byte\n", device.name);
  for (int y = 0; y < kHeight; ++y) {
    const bool is_roof = y == row(device.flop_s);
    text += fmt::format("{:>14} |{}\n", is_roof ? FlopsPerSecond(device.flop_s) : "",
                        cells[y].substr(0, cells[y].find_last_not_of(' ') + 1));
  }
  text += fmt::format("{:>14} +", "");
  for (int x = 0; x < kWidth; ++x) text += x % 12 == 0 ? '+' : '-';
  std::string labels(16 + kWidth + 4, ' ');
  for (int x = 0; x < kWidth; x += 12) {
    const std::string label = fmt::format("{:g}", 0.125 * std::pow(8, x / 12));
    labels.replace(16 + x - label.size() / 2, label.size(), label);
  }
  text += "\n" + labels.substr(0, labels.find_last_not_of(' ') + 1);
  text += fmt::format("\n  ridge (:) {:.1f} FLOPs a byte\n", device.ridge());
  for (const Point& point : points) {
    text += fmt::format("  {}  {:<17}{:>9.1f} FLOPs a byte: at most {}\n", point.mark, point.name,
                        point.intensity, FlopsPerSecond(point.flop_s));
  }
  return text;
}

std::string RooflineSvg(const std::vector<DevicePrediction>& predictions) {
  constexpr double kLeft = 110;
  constexpr double kRight = 830;
  constexpr double kTop = 60;
  constexpr double kBottom = 420;
  constexpr std::array<std::string_view, 4> kColours = {"#c96a12", "#2f6fd0", "#1f8a5b", "#7350b8"};
  double top = 0;
  double bottom = 1e30;
  for (const DevicePrediction& p : predictions) {
    top = std::max(top, 3 * p.device.flop_s);
    bottom = std::min(bottom, Roof(p.device, kMinIntensity) / 1.6);
  }
  const auto x_of = [&](double intensity) {
    return kLeft +
           (kRight - kLeft) * std::clamp(Along(intensity, kMinIntensity, kMaxIntensity), 0.0, 1.0);
  };
  const auto y_of = [&](double flop_s) {
    return kBottom - (kBottom - kTop) * std::clamp(Along(flop_s, bottom, top), 0.0, 1.0);
  };

  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 480\" width=\"860\" "
      "height=\"480\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', "
      "sans-serif\" font-size=\"12.5\" fill=\"#1c2430\">\n<title>Roofline</title>\n"
      "<rect width=\"860\" height=\"480\" fill=\"#ffffff\"/>\n";
  const auto line = [&](double x1, double y1, double x2, double y2, std::string_view colour,
                        double width) {
    svg += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
        "stroke-width=\"{}\"/>\n",
        x1, y1, x2, y2, colour, width);
  };
  const auto text = [&](double x, double y, std::string_view words, std::string_view colour,
                        std::string_view anchor) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"{}\" text-anchor=\"{}\">{}</text>\n",
                       x, y, colour, anchor, EscapedXml(words));
  };

  for (double intensity = kMinIntensity; intensity <= kMaxIntensity; intensity *= 8) {
    line(x_of(intensity), kTop, x_of(intensity), kBottom, "#e3e7ed", 1);
    text(x_of(intensity), kBottom + 18, fmt::format("{:g}", intensity), "#5b6676", "middle");
  }
  for (double flop_s = 1e6; flop_s < 1e18; flop_s *= 10) {
    if (flop_s < bottom || flop_s > top) continue;
    line(kLeft, y_of(flop_s), kRight, y_of(flop_s), "#e3e7ed", 1);
    text(kLeft - 8, y_of(flop_s) + 4, FlopsPerSecond(flop_s), "#5b6676", "end");
  }
  text((kLeft + kRight) / 2, kBottom + 42, "FLOPs for each byte read", "#5b6676", "middle");
  text(20, 30, "Roofline: what memory and arithmetic allow at most", "#1c2430", "start");

  std::vector<std::pair<double, double>> words;  // where points have their names
  for (size_t i = 0; i < predictions.size(); ++i) {
    const DevicePrediction& p = predictions[i];
    const DeviceLimits& device = p.device;
    const std::string_view colour = kColours[i % kColours.size()];
    const double ridge = std::clamp(device.ridge(), kMinIntensity, kMaxIntensity);
    line(x_of(kMinIntensity), y_of(Roof(device, kMinIntensity)), x_of(ridge),
         y_of(Roof(device, ridge)), colour, 2.5);
    line(x_of(ridge), y_of(Roof(device, ridge)), kRight, y_of(device.flop_s), colour, 2.5);
    text(kRight, y_of(device.flop_s) - 8,
         fmt::format("{}: {}, {} ({})", device.name, BytesPerSecond(device.read_bytes_s),
                     FlopsPerSecond(device.flop_s), device.measured ? "measured" : "published"),
         colour, "end");
    for (const Point& point : PointsOf(p)) {
      const double x = x_of(point.intensity);
      const double y = y_of(point.flop_s);
      svg +=
          fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"/>\n", x, y, colour);
      // To the right below its point; further below where another already stands.
      double words_y = y + 18;
      const auto taken = [&](const std::pair<double, double>& other) {
        return std::abs(other.first - x) < 130 && std::abs(other.second - words_y) < 14;
      };
      while (words_y < kBottom && std::ranges::any_of(words, taken)) words_y += 3;
      words.emplace_back(x, words_y);
      text(x + 8, words_y, point.name, colour, "start");
    }
  }
  return svg + "</svg>\n";
}

}  // namespace aios::lessons
