// Copyright 2026 The mvreg_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// The sums of fast point feature histograms of float32 on one core: features/fpfh.py in one pass
// over the neighbours of each point.

#include <math.h>
#include <stdint.h>
#include <string.h>

// As in fpfh.py.
#define BINS 11
#define WIDTH (3 * BINS)
// Neighbours that are computed at a time.
#define BLOCK 64

#define INLINE static inline __attribute__((always_inline))

// A block of neighbours, for loops that compute many at a time: each minus the point and over the
// distance, its normal, and the bins of the three Darboux angles.
typedef struct {
    float line[3][BLOCK], normal[3][BLOCK];
    int32_t bins[3][BLOCK];
} Block;

// The bin of a share, from 0 to 1 but for rounding; not a number falls into the lowest.
INLINE int32_t bin(float share)
{
    const float place = BINS * share, low = place > 0 ? place : 0;
    return (int32_t)(low < BINS - 1 ? low : BINS - 1);
}

// The angle of (x, y) to 2e-7 rad, without a branch: the arc tangent by a Chebyshev polynomial.
INLINE float angle(float y, float x)
{
    const float ax = fabsf(x), ay = fabsf(y), larger = ax > ay ? ax : ay;
    const float ratio = (ax > ay ? ay : ax) / (larger > 1e-30f ? larger : 1e-30f);
    const float u = ratio * ratio;
    float sum = -0.00466877331f;
    sum = sum * u + 0.0241661895f;
    sum = sum * u - 0.0593671008f;
    sum = sum * u + 0.099060969f;
    sum = sum * u - 0.14016585f;
    sum = sum * u + 0.199692354f;
    sum = sum * u - 0.333319597f;
    sum = sum * u + 0.999999898f;
    sum *= ratio;
    sum = ay > ax ? 1.57079633f - sum : sum;
    sum = x < 0 ? 3.14159265f - sum : sum;
    return y < 0 ? -sum : sum;
}

INLINE void gather(
    const float *point, const float *points, const int64_t *index, const float *distance,
    int64_t count, Block *restrict block)
{
    for (int64_t k = 0; k < count; k++) {
        const float *other = points + 6 * index[k], inverse = 1 / distance[k];
        for (int c = 0; c < 3; c++) {
            block->line[c][k] = (other[c] - point[c]) * inverse;
            block->normal[c][k] = other[3 + c];
        }
    }
}

// The bins of the angles between a normal and those of a block.
INLINE void pair_bins(const float *normal, int64_t count, Block *restrict block)
{
    for (int64_t k = 0; k < count; k++) {
        const float dx = block->line[0][k], dy = block->line[1][k], dz = block->line[2][k];
        const float nx = block->normal[0][k], ny = block->normal[1][k], nz = block->normal[2][k];
        const float here = normal[0] * dx + normal[1] * dy + normal[2] * dz;
        const float there = nx * dx + ny * dy + nz * dz;
        // The normal that makes the smaller angle with the line is the source.
        const int swap = fabsf(here) < fabsf(there);
        const float sx = swap ? nx : normal[0], tx = swap ? normal[0] : nx;
        const float sy = swap ? ny : normal[1], ty = swap ? normal[1] : ny;
        const float sz = swap ? nz : normal[2], tz = swap ? normal[2] : nz;
        const float sign = swap ? -1 : 1, phi = swap ? -there : here;
        float vx = sign * (dy * sz - dz * sy), vy = sign * (dz * sx - dx * sz);
        float vz = sign * (dx * sy - dy * sx);
        const float length = sqrtf(vx * vx + vy * vy + vz * vz);
        const int defined = length > 1e-12f;
        const float inverse = defined ? 1 / length : 0;
        vx *= inverse, vy *= inverse, vz *= inverse;
        const float wx = sy * vz - sz * vy, wy = sz * vx - sx * vz, wz = sx * vy - sy * vx;
        const float theta = angle(
            wx * tx + wy * ty + wz * tz, defined ? sx * tx + sy * ty + sz * tz : 1);
        block->bins[0][k] = bin(theta * (float)(0.5 / 3.14159265358979323846) + 0.5f);
        block->bins[1][k] = bin((vx * tx + vy * ty + vz * tz + 1) / 2);
        block->bins[2][k] = bin(((defined ? phi : 0) + 1) / 2);
    }
}

// histograms (radii, total, WIDTH) of the points first to first + size - 1, whose neighbours are
// counts[k] entries of index and distance each; points (total, 6) with their normals; edges: radii
// in ascending order.
void simplified_histograms(
    const float *points, int64_t total, int64_t first, int64_t size, const int64_t *counts,
    const int64_t *index, const float *distance, const float *edges, int64_t radii,
    float *histograms)
{
    Block block = {0};
    for (int64_t p = first; p < first + size; p++, counts++) {
        int found[WIDTH] = {0}, shells[radii][WIDTH];
        memset(shells, 0, sizeof shells);
        for (int64_t done = 0; done < *counts; done += BLOCK) {
            const int64_t left = *counts - done, count = left < BLOCK ? left : BLOCK;
            const float *apart = distance + done;
            gather(points + 6 * p, points, index + done, apart, count, &block);
            pair_bins(points + 6 * p + 3, count, &block);
            for (int64_t k = 0; k < count; k++) {
                int64_t shell = 0;
                while (shell < radii - 1 && apart[k] >= edges[shell])
                    shell++;
                for (int angle = 0; angle < 3; angle++)
                    shells[shell][angle * BINS + block.bins[angle][k]] += apart[k] > 0;
            }
        }
        index += *counts;
        distance += *counts;
        for (int64_t r = 0; r < radii; r++) {
            float *histogram = histograms + (r * total + p) * WIDTH;
            int sum = 0;
            for (int b = 0; b < WIDTH; b++)
                found[b] += shells[r][b];
            for (int b = 0; b < BINS; b++)
                sum += found[b];
            for (int b = 0; b < WIDTH; b++)
                histogram[b] = 100.f * found[b] / (sum > 1 ? sum : 1);
        }
    }
}

// sums (radii, total, WIDTH) of the histograms of the neighbours nearer than each radius, each by
// the inverse square of its distance; the other arguments as above.
void weighted_histograms(
    const float *histograms, int64_t total, int64_t first, int64_t size, const int64_t *counts,
    const int64_t *index, const float *distance, const float *edges, int64_t radii, float *sums)
{
    for (int64_t p = first; p < first + size; p++, counts++) {
        for (int64_t r = 0; r < radii; r++) {
            float sum[WIDTH] = {0};
            for (int64_t k = 0; k < *counts; k++)
                if (distance[k] > 0 && distance[k] < edges[r]) {
                    const float weight = 1 / (distance[k] * distance[k]);
                    const float *other = histograms + (r * total + index[k]) * WIDTH;
                    for (int b = 0; b < WIDTH; b++)
                        sum[b] += weight * other[b];
                }
            memcpy(sums + (r * total + p) * WIDTH, sum, sizeof sum);
        }
        index += *counts;
        distance += *counts;
    }
}
