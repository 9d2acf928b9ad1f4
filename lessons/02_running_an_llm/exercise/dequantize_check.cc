// Grades DequantizeQ4_1. What is right comes from how the blocks were made, not from unpacking
// them.
#include "dequantize.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

struct Block {
  uint16_t d_bits;
  uint16_t m_bits;
  int q[32];
};

std::vector<uint8_t> Pack(const std::vector<Block>& blocks) {
  std::vector<uint8_t> bytes;
  for (const Block& block : blocks) {
    for (const uint16_t half : {block.d_bits, block.m_bits}) {
      bytes.push_back(half & 255);
      bytes.push_back(half >> 8);
    }
    for (int j = 0; j < 16; ++j) {
      bytes.push_back(static_cast<uint8_t>(block.q[j] | block.q[j + 16] << 4));
    }
  }
  return bytes;
}

// Number i of a block by a way of reading it, right or wrong.
using Read = float (*)(float d, float m, const int* q, int i);

std::vector<float> Numbers(const std::vector<Block>& blocks, Read read) {
  std::vector<float> numbers;
  for (const Block& block : blocks) {
    const float d = HalfToFloat(block.d_bits);
    const float m = HalfToFloat(block.m_bits);
    for (int i = 0; i < 32; ++i) numbers.push_back(read(d, m, block.q, i));
  }
  return numbers;
}

void Check(const std::string& name, const std::vector<Block>& blocks) {
  BeginCase(name);
  // One byte more in front: blocks lie at any address.
  std::vector<uint8_t> padded = Pack(blocks);
  padded.insert(padded.begin(), 0xAA);
  const Fenced<uint8_t> bytes(padded);
  Fenced<float> out(Untouched(blocks.size() * 32));
  DequantizeQ4_1({bytes.data() + 1, padded.size() - 1}, out.span());
  out.CheckBefore();

  const auto wrong = [&](Read read) { return Numbers(blocks, read); };
  const std::vector<float> right =
      wrong([](float d, float m, const int* q, int i) { return d * q[i] + m; });
  ExpectNear(
      right, out.span(),
      {.hint =
           "start with block 0 alone, and print d, m and the first q: are they as in the header?",
       .mistakes = {
           {"numbers j and j + 16 share a byte, not 2j and 2j + 1",
            wrong([](float d, float m, const int* q, int i) {
              return d * q[i / 2 + (i % 2) * 16] + m;
            })},
           {"the low half of a byte is number j, the high half j + 16: are yours the other way "
            "round?",
            wrong([](float d, float m, const int* q, int i) { return d * q[(i + 16) % 32] + m; })},
           {"is the minimum subtracted? x = d * q + m, and m itself may be negative",
            wrong([](float d, float m, const int* q, int i) { return d * q[i] - m; })},
           {"was the minimum forgotten? x = d * q + m",
            wrong([](float d, float, const int* q, int i) { return d * q[i]; })},
           {"did you subtract 8 from q? That is Q4_0; Q4_1 has a minimum instead",
            wrong([](float d, float, const int* q, int i) { return d * (q[i] - 8); })},
           {"did you subtract 8 from q? That is Q4_0; in Q4_1 q goes from 0 to 15",
            wrong([](float d, float m, const int* q, int i) { return d * (q[i] - 8) + m; })},
           {"the scale comes first in a block, then the minimum: are they exchanged?",
            wrong([](float d, float m, const int* q, int i) { return m * q[i] + d; })},
       }});
}

Block RandomBlock(Random& random) {
  // Halves between about 2^-6 and 2^2, of either sign.
  const auto half = [&] {
    const int bits = random.Int(0, 1) << 15 | random.Int(9, 16) << 10 | random.Int(0, 1023);
    return static_cast<uint16_t>(bits);
  };
  Block block = {.d_bits = half(), .m_bits = half(), .q = {}};
  for (int& q : block.q) q = random.Int(0, 15);
  return block;
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Block by_hand = {.d_bits = 0x3800, .m_bits = 0xBC00, .q = {}};
  by_hand.q[0] = 2;
  by_hand.q[16] = 15;
  Check("the header's example: d 0.5, m -1, byte 4 is 0xF2, the other bytes 0", {by_hand});

  Random random(1);
  for (const int n_blocks : {1, 2, 7}) {
    std::vector<Block> blocks;
    for (int i = 0; i < n_blocks; ++i) blocks.push_back(RandomBlock(random));
    Check(Format("%d random blocks", n_blocks), blocks);
  }

  Block tiny = RandomBlock(random);
  tiny.d_bits = 0x0003;  // a subnormal half
  Check("a scale as small as 2^-23", {tiny, RandomBlock(random)});
  return Passed();
}
