// A matrix of weights in [0, 1] as a picture: shades in a terminal, or SVG.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace aios {

// Row i: what label i looks at; column j: label j. A view: whoever made the parts must outlive it.
struct HeatMap {
  std::string title;
  std::vector<std::string> labels;  // [n], UTF-8, for both rows and columns
  std::span<const float> weights;   // [n, n]
};

// Lines of text, for the first `max_rows` labels: a shade of two characters for each weight, "·"
// for what is to come, and the largest of the row. A last line says what the shades mean.
std::string ToTerminal(const HeatMap& map, size_t max_rows);

// A whole SVG file on a white background; each cell says its figures when pointed at.
std::string ToSvg(const HeatMap& map);

}  // namespace aios
