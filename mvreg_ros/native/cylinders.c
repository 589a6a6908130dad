// Copyright 2026 The mvreg_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// The sums of the cylinder histograms of float32 on one core: what torch computes pass by pass in
// features/cylinders.py, a block of neighbours at a time in registers and the nearest cache.

#include <math.h>
#include <stdint.h>
#include <string.h>

// As in cylinders.py.
#define RADIAL 5
#define HEIGHT 5
#define HALF_HEIGHT 0.8f
#define HARMONICS 3
#define CHANNELS (3 + 2 * HARMONICS)
// Neighbours that are computed at a time.
#define BLOCK 64
// Room for the channels of a bin, which are added up as one vector.
#define ROOM 16

#define INLINE static inline __attribute__((always_inline))

typedef float vector __attribute__((vector_size(4 * ROOM), aligned(4), may_alias));

// A block of neighbours: where each is among the bins, and what it adds to them.
typedef struct {
    float radial[BLOCK], along[BLOCK];
    float channels[BLOCK][ROOM];
} Block;

// Not a number becomes the lowest, so that whatever comes in, a bin comes out.
INLINE float clamp(float x, float highest)
{
    x = x > 0 ? x : 0;
    return x < highest ? x : highest;
}

INLINE float dot(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// A frame has two tangents and the normal for its rows; a point is followed by its normal.
INLINE void describe(
    const float *restrict query, const float *restrict frame, float radius,
    const float *restrict points, const int64_t *restrict index, int64_t count,
    Block *restrict block)
{
    const float inverse = 1 / radius;
    const float *first = frame, *second = frame + 3, *axis = frame + 6;
    for (int64_t k = 0; k < count; k++) {
        const float *point = points + 6 * index[k], *normal = point + 3;
        const float offset[3] = {(point[0] - query[0]) * inverse, (point[1] - query[1]) * inverse,
                                 (point[2] - query[2]) * inverse};
        const float x = dot(first, offset), y = dot(second, offset);
        const float height = dot(axis, offset), rho = sqrtf(x * x + y * y);
        const float scale = 1 / (rho > 1e-6f ? rho : 1e-6f), c = x * scale, s = y * scale;
        block->radial[k] = clamp(rho * RADIAL - 0.5f, RADIAL - 1);
        block->along[k] = clamp((height / HALF_HEIGHT + 1) * (HEIGHT / 2.f) - 0.5f, HEIGHT - 1);
        block->channels[k][0] = 1;
        block->channels[k][1] = dot(axis, normal);
        block->channels[k][2] = dot(first, normal) * c + dot(second, normal) * s;
        float c_m = c, s_m = s;
        for (int m = 0; m < HARMONICS; m++) {
            block->channels[k][3 + 2 * m] = c_m;
            block->channels[k][4 + 2 * m] = s_m;
            const float next = c_m * c - s_m * s;
            s_m = s_m * c + c_m * s;
            c_m = next;
        }
    }
}

// A neighbour counts in the two bins that it lies between, along and across.
INLINE void add_up(const Block *block, int64_t count, vector (*bins)[HEIGHT])
{
    for (int64_t k = 0; k < count; k++) {
        const vector channels = *(const vector *)block->channels[k];
        int r = (int)block->radial[k], h = (int)block->along[k];
        r = r < RADIAL - 1 ? r : RADIAL - 2;
        h = h < HEIGHT - 1 ? h : HEIGHT - 2;
        const float outer = block->radial[k] - r, upper = block->along[k] - h;
        const vector far = channels * outer, near = channels - far;
        bins[r][h] += near * (1 - upper);
        bins[r][h + 1] += near * upper;
        bins[r + 1][h] += far * (1 - upper);
        bins[r + 1][h + 1] += far * upper;
    }
}

// sums[q] (RADIAL, HEIGHT, CHANNELS) of the neighbours of each query: counts[q] entries of index,
// one query after the other, that are rows of points (N, 6).
void cylinder_moments(
    const float *queries, const float *frames, const int64_t *counts, int64_t size,
    const int64_t *index, const float *points, float radius, float *sums)
{
    Block block = {0};
    for (int64_t q = 0; q < size; q++) {
        vector bins[RADIAL][HEIGHT] = {0};
        for (int64_t done = 0; done < counts[q]; done += BLOCK) {
            const int64_t left = counts[q] - done, count = left < BLOCK ? left : BLOCK;
            describe(queries + 3 * q, frames + 9 * q, radius, points, index + done, count, &block);
            add_up(&block, count, bins);
        }
        index += counts[q];
        for (int b = 0; b < RADIAL * HEIGHT; b++, sums += CHANNELS)
            memcpy(sums, &bins[0][b], sizeof(float) * CHANNELS);
    }
}
