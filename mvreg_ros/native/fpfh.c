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

#define INLINE static inline __attribute__((always_inline))

INLINE float dot(const float *a, const float *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

INLINE void cross(const float *a, const float *b, float *c)
{
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

// The bin of a share, from 0 to 1 but for rounding; not a number falls into the lowest.
INLINE int bin(float share)
{
    const float place = BINS * share;
    return place > 0 ? (place < BINS ? (int)place : BINS - 1) : 0;
}

// The bins of the three Darboux angles of two points, each followed by its normal.
INLINE void pair_bins(const float *a, const float *b, float distance, int *bins)
{
    const float inverse = 1 / distance;
    float line[3] = {(b[0] - a[0]) * inverse, (b[1] - a[1]) * inverse, (b[2] - a[2]) * inverse};
    const float cos_a = dot(a + 3, line), cos_b = dot(b + 3, line);
    const int swap = fabsf(cos_a) < fabsf(cos_b);
    const float *source = (swap ? b : a) + 3, *target = (swap ? a : b) + 3;
    const float phi = swap ? -cos_b : cos_a, sign = swap ? -1 : 1;
    for (int k = 0; k < 3; k++)
        line[k] *= sign;
    float v[3], w[3], theta = 0, alpha = 0, along = 0;
    cross(line, source, v);
    const float length = sqrtf(dot(v, v));
    if (length > 1e-12f) {
        for (int k = 0; k < 3; k++)
            v[k] /= length;
        cross(source, v, w);
        theta = atan2f(dot(w, target), dot(source, target));
        alpha = dot(v, target);
        along = phi;
    }
    bins[0] = bin(theta * (float)(0.5 / 3.14159265358979323846) + 0.5f);
    bins[1] = bin((alpha + 1) / 2);
    bins[2] = bin((along + 1) / 2);
}

// histograms (radii, total, WIDTH) of the points first to first + size - 1, whose neighbours are
// counts[k] entries of index and distance each; points (total, 6) with their normals; edges: radii
// in ascending order.
void simplified_histograms(
    const float *points, int64_t total, int64_t first, int64_t size, const int64_t *counts,
    const int64_t *index, const float *distance, const float *edges, int64_t radii,
    float *histograms)
{
    for (int64_t p = first; p < first + size; p++, counts++) {
        int found[WIDTH] = {0}, shells[radii][WIDTH];
        memset(shells, 0, sizeof shells);
        for (int64_t k = 0; k < *counts; k++)
            if (distance[k] > 0) {
                int bins[3];
                int64_t shell = 0;
                while (shell < radii - 1 && distance[k] >= edges[shell])
                    shell++;
                pair_bins(points + 6 * p, points + 6 * index[k], distance[k], bins);
                for (int angle = 0; angle < 3; angle++)
                    shells[shell][angle * BINS + bins[angle]]++;
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
