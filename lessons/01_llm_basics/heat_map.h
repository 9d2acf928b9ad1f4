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

// Lines of text, at most `max_rows` of them with the labels that come first: a shade of two
// characters for each weight ("  " below 5%, then one of four), and the largest of the row.
std::string ToTerminal(const HeatMap& map, size_t max_rows);

// A whole SVG file on a white background; each cell says its figures when pointed at.
std::string ToSvg(const HeatMap& map);

}  // namespace aios
