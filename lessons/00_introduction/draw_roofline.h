// The roofline as a picture: FLOPs a second over FLOPs a byte, both logarithmic. What reads a byte
// for few FLOPs is on the slope, where memory decides; what reads it for many, under the flat roof.
#pragma once

#include <string>
#include <vector>

#include "lessons/00_introduction/predict.h"

namespace aios::lessons {

// For the terminal: lines of at most 79 characters, with a legend. ASCII only.
std::string RooflineText(const DevicePrediction& prediction);

// All devices in one picture, each in its colour. Readable on light and dark pages.
std::string RooflineSvg(const std::vector<DevicePrediction>& predictions);

}  // namespace aios::lessons
