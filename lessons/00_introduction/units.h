// Numbers with their units, for people: powers of 1000, three digits or so.
#pragma once

#include <cstdint>
#include <string>

namespace aios::lessons {

std::string Bytes(double n);           // "538.1 MB"
std::string BytesPerSecond(double n);  // "36.4 GB/s"
std::string Flops(double n);           // "917 GFLOP"
std::string FlopsPerSecond(double n);  // "105 GFLOP/s"
std::string Seconds(double s);         // "5.31 ms"
std::string Grouped(int64_t n);        // "134,515,008"
std::string Speed(double x);           // of anything a second: "67.7", "12,300"

}  // namespace aios::lessons
