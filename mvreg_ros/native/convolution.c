// Copyright 2026 The mvreg_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// Sparse convolution of float32 on one core: rows are gathered, multiplied and added up in
// registers, with nothing in memory in between. Compiled by native.py, which splits the work.

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
// Vectors of a row that are summed at the same time: with ROWS of them, those of the weights and
// the factor they fit into 32 registers or into 16.
#if defined(__AVX512F__) || defined(__aarch64__)
#define WIDEST 4
#else
#define WIDEST 2
#endif
#define ROWS 6
// Pairs whose rows stay in the cache while all columns of a gradient are summed.
#define CHUNK 64

#define INLINE static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// The pairs of a kernel map, by offset: row r meets cells[places[r] + across[k]] unless that is
// negative. Those of offset k are starts[k] to starts[k + 1] - 1; there is room for rows * offsets.
void find_pairs(
    const int32_t *cells, const int32_t *places, int64_t rows, const int32_t *across,
    int64_t offsets, int32_t *inputs, int32_t *outputs, int64_t *starts)
{
    int64_t pairs = 0;
    for (int64_t k = 0; k < offsets; k++) {
        starts[k] = pairs;
        for (int64_t r = 0; r < rows; r++) {
            const int32_t input = cells[places[r] + across[k]];
            inputs[pairs] = input;
            outputs[pairs] = (int32_t)r;
            pairs += input >= 0;  // else the next pair is written over it
        }
    }
    starts[offsets] = pairs;
}

// What an offset multiplies: for each line l, `length` values from x + steps[l] of a row of x.
typedef struct {
    const float *x;
    int64_t stride;
    const int32_t *steps;
    int64_t lines, length;
    int64_t columns;
} Rows;

// out[r] += x[r] @ weight for a few rows and `width` vectors of their columns.
INLINE void multiply_tile(
    const int rows, const int width, const Rows *from, const float *weight,
    const int32_t *inputs, const int32_t *outputs, float *out)
{
    const float *x[ROWS];
    float *y[ROWS];
    vector sum[ROWS][WIDEST], factors[WIDEST];
    for (int r = 0; r < rows; r++) {
        x[r] = from->x + inputs[r] * from->stride;
        y[r] = out + outputs[r] * from->columns;
        for (int v = 0; v < width; v++)
            sum[r][v] = *(const vector *)(y[r] + v * LANES);
    }
    for (int64_t line = 0; line < from->lines; line++) {
        const int64_t first = from->steps[line], last = first + from->length;
        for (int64_t c = first; c < last; c++, weight += from->columns) {
            for (int v = 0; v < width; v++)
                factors[v] = *(const vector *)(weight + v * LANES);
            for (int r = 0; r < rows; r++)
                for (int v = 0; v < width; v++)
                    sum[r][v] += x[r][c] * factors[v];
        }
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width; v++)
            *(vector *)(y[r] + v * LANES) = sum[r][v];
}

INLINE void multiply_columns(
    const int width, const Rows *from, const float *weight, int64_t pairs,
    const int32_t *inputs, const int32_t *outputs, float *out)
{
    int64_t p = 0;
    for (; p + ROWS <= pairs; p += ROWS)
        multiply_tile(ROWS, width, from, weight, inputs + p, outputs + p, out);
    for (; p + 2 <= pairs; p += 2)
        multiply_tile(2, width, from, weight, inputs + p, outputs + p, out);
    for (; p < pairs; p++)
        multiply_tile(1, width, from, weight, inputs + p, outputs + p, out);
}

// The first of the ascending values from begin to end - 1 that is not below `least`.
static int64_t lower_bound(const int32_t *values, int64_t begin, int64_t end, int64_t least)
{
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (values[middle] < least)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

// out[outputs[p]] = sum over the pairs p of all offsets of x[inputs[p]] @ kernel[offset], for the
// rows first to last - 1 of out. The pairs of offset k are starts[k] to starts[k + 1] - 1, in it
// their outputs ascend; kernel is (offsets, lines * length, columns), columns a multiple of 16.
void convolve(
    const float *x, int64_t stride, const int32_t *steps, int64_t lines, int64_t length,
    const float *kernel, int64_t offsets, const int32_t *inputs, const int32_t *outputs,
    const int64_t *starts, int64_t first, int64_t last, float *out, int64_t columns)
{
    const Rows from = {x, stride, steps, lines, length, columns};
    memset(out + first * columns, 0, sizeof(float) * (last - first) * columns);
    for (int64_t k = 0; k < offsets; k++, kernel += lines * length * columns) {
        const int64_t begin = lower_bound(outputs, starts[k], starts[k + 1], first);
        const int64_t pairs = lower_bound(outputs, begin, starts[k + 1], last) - begin;
        const int32_t *in = inputs + begin, *to = outputs + begin;
        int64_t c = 0;
        for (; c + WIDEST * LANES <= columns; c += WIDEST * LANES)
            multiply_columns(WIDEST, &from, kernel + c, pairs, in, to, out + c);
        for (; c + 2 * LANES <= columns; c += 2 * LANES)
            multiply_columns(2, &from, kernel + c, pairs, in, to, out + c);
        for (; c < columns; c += LANES)
            multiply_columns(1, &from, kernel + c, pairs, in, to, out + c);
    }
}

// sum[c] += x[inputs[p]][c] * y[outputs[p]] for a few channels c and `width` vectors.
INLINE void gradient_tile(
    const int rows, const int width, const float *x, int64_t channels, const float *y,
    int64_t columns, int64_t pairs, const int32_t *inputs, const int32_t *outputs, float *out)
{
    vector sum[ROWS][WIDEST], factors[WIDEST];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width; v++)
            sum[r][v] = *(const vector *)(out + r * columns + v * LANES);
    for (int64_t p = 0; p < pairs; p++) {
        const float *row = x + inputs[p] * channels, *factor = y + outputs[p] * columns;
        for (int v = 0; v < width; v++)
            factors[v] = *(const vector *)(factor + v * LANES);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < width; v++)
                sum[r][v] += row[r] * factors[v];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < width; v++)
            *(vector *)(out + r * columns + v * LANES) = sum[r][v];
}

INLINE void gradient_columns(
    const int width, const float *x, int64_t channels, const float *y, int64_t columns,
    int64_t pairs, const int32_t *inputs, const int32_t *outputs, float *out)
{
    int64_t c = 0;
    for (; c + ROWS <= channels; c += ROWS)
        gradient_tile(ROWS, width, x + c, channels, y, columns, pairs, inputs, outputs,
                      out + c * columns);
    for (; c + 2 <= channels; c += 2)
        gradient_tile(2, width, x + c, channels, y, columns, pairs, inputs, outputs,
                      out + c * columns);
    for (; c < channels; c++)
        gradient_tile(1, width, x + c, channels, y, columns, pairs, inputs, outputs,
                      out + c * columns);
}

// kernel[k] += sum over the pairs p of offset k of x[inputs[p]]^T y[outputs[p]]: what one block
// of pairs adds to the gradient of a kernel (offsets, channels, columns).
void kernel_gradient(
    const float *x, int64_t channels, const float *y, int64_t columns, const int32_t *inputs,
    const int32_t *outputs, const int64_t *starts, int64_t offsets, float *kernel)
{
    for (int64_t k = 0; k < offsets; k++, kernel += channels * columns)
        for (int64_t p = starts[k]; p < starts[k + 1]; p += CHUNK) {
            const int32_t *in = inputs + p, *to = outputs + p;
            const int64_t left = starts[k + 1] - p, pairs = left < CHUNK ? left : CHUNK;
            int64_t c = 0;
            for (; c + WIDEST * LANES <= columns; c += WIDEST * LANES)
                gradient_columns(WIDEST, x, channels, y + c, columns, pairs, in, to, kernel + c);
            for (; c + 2 * LANES <= columns; c += 2 * LANES)
                gradient_columns(2, x, channels, y + c, columns, pairs, in, to, kernel + c);
            for (; c < columns; c += LANES)
                gradient_columns(1, x, channels, y + c, columns, pairs, in, to, kernel + c);
        }
}
