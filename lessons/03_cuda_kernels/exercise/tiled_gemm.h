// Exercise: a matrix product that uses what it has fetched.
//
//   c[i, j] = sum over l of a[i, l] * b[l, j]
//
// Three plain loops fetch two numbers for one multiplication, and walk down the columns of b, one
// cache line for each number. A tile does better: compute, say, 4 rows x 8 columns of c at once, in
// local variables that the compiler can keep in registers; 4 numbers of a and 8 of b then serve 32
// multiplications, and the 8 lie beside one another.
//
// The traps: sizes that are no multiple of the tile, in each of the three directions; what lies
// after a matrix belongs to somebody else; and c holds anything before you write it.
//
// By hand: a = [1 2], b = [5 6 7; 8 9 10]: c = [1*5 + 2*8, 1*6 + 2*9, 1*7 + 2*10] = [21 24 27].
#pragma once

#include <cstdint>

namespace aios::exercise {

// a [m, k], b [k, n], c [m, n], each row after row; m, n >= 1, k >= 0. For m = n = k = 320 it must
// take at most half the time of three plain loops, on one thread; the reference takes about a
// tenth.
void Gemm(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k);

}  // namespace aios::exercise
