// Copyright 2026 The mvreg_ros authors
// SPDX-License-Identifier: Apache-2.0
//
// The search for neighbours of float32 on one core, among candidates of features/neighbors.py.

#include <math.h>
#include <stdint.h>

// Products are rounded before they are added, as torch does: who is a neighbour, where that is a
// matter of the last bit, must not depend on who computes it.
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

// Of the points in the runs of each query those nearer than the radius: counts[q] rows and their
// distances, one query after the other. There is room for all candidates: run k of a query holds
// the rows starts[k] to starts[k] + lengths[k] - 1 of points (N, 3).
void search_runs(
    const float *queries, int64_t size, const int64_t *starts, const int64_t *lengths,
    int64_t runs, const float *points, float radius, int64_t *counts, int64_t *rows,
    float *distances)
{
    int64_t found = 0;
    for (int64_t q = 0; q < size; q++, queries += 3, starts += runs, lengths += runs) {
        const int64_t before = found;
        for (int64_t k = 0; k < runs; k++)
            for (int64_t p = starts[k]; p < starts[k] + lengths[k]; p++) {
                const float x = points[3 * p] - queries[0];
                const float y = points[3 * p + 1] - queries[1];
                const float z = points[3 * p + 2] - queries[2];
                const float distance = sqrtf(x * x + y * y + z * z);
                rows[found] = p;
                distances[found] = distance;
                found += distance < radius;  // else the next one is written over it
            }
        counts[q] = found - before;
    }
}
