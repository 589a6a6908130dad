// Copyright 2026 The mvreg_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// The spread of the neighbours of points of float32 on one core: the sums of features/normals.py.

#include <stdint.h>

// result[q] (3, 3) of the neighbours of each query: counts[q] entries of index, one query after
// the other, that are rows of points (N, 3); zero for a query without any.
void covariances(
    const float *queries, const int64_t *counts, int64_t size, const int64_t *index,
    const float *points, float *result)
{
    for (int64_t q = 0; q < size; q++, queries += 3, result += 9) {
        float sum[3] = {0}, square[3][3] = {{0}};
        for (int64_t k = 0; k < counts[q]; k++) {
            const float *point = points + 3 * index[k];
            // About the query: far from the origin squares would drown the spread.
            const float offset[3] = {
                point[0] - queries[0], point[1] - queries[1], point[2] - queries[2]};
            for (int a = 0; a < 3; a++) {
                sum[a] += offset[a];
                for (int b = 0; b <= a; b++)
                    square[a][b] += offset[a] * offset[b];
            }
        }
        const float share = 1.f / (counts[q] > 1 ? counts[q] : 1);
        for (int a = 0; a < 3; a++)
            for (int b = 0; b <= a; b++)
                result[3 * a + b] = result[3 * b + a] =
                    share * square[a][b] - share * sum[a] * share * sum[b];
        index += counts[q];
    }
}
