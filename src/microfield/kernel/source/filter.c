/* The adaptive filter of `field` (microfield.methods.field.adaptive_filter, .taps) on some rows of a plane. */
#include "kernel.h"

#define REACH 4
#define NEAR 3
#define WIDTH (2 * NEAR + 1)
#define SORTS 10
#define DIRECTED 0.36f

typedef struct {
    const float *padded;     /* (rows + 2 * REACH, columns + 2 * REACH) */
    const float *along[4];   /* neighbours along z, then along the batch, before and after: (rows, columns) each */
    int64_t rows, columns;
    const int32_t *pairs;    /* (pairs, 2): y and x of one neighbour of each pair */
    int32_t n_pairs, n_clipped, n_along;
    int32_t sorted;          /* whether weights differ by the sort of a place */
    const float *weights;    /* (n_pairs + n_clipped + n_along, SORTS) */
    float limit, lively;     /* of clipped differences; of r1 + r2 */
    float *space;            /* 6 * (rows + 2 * NEAR) * (columns + 2 * NEAR) floats */
    float *out;              /* (rows, columns) */
} Rows;

/* Sums over the neighbourhood of every voxel of the second differences along a direction: down the columns first, then along rows. */
static void variation(const Rows *r, int dy, int dx, float *sums) {
    const int64_t wide = r->columns + 2 * REACH, high = r->rows + 2 * NEAR, broad = r->columns + 2 * NEAR;
    float *second = r->space, *down = r->space + high * broad;
    for (int64_t y = 0; y < high; y++) {
        const float *here = r->padded + (y + 1) * wide + 1, *before = here - dy * wide - dx, *after = here + dy * wide + dx;
        float *to = second + y * broad;
        for (int64_t x = 0; x < broad; x++) {
            const float value = (before[x] + after[x]) - here[x] * 2.0f;
            to[x] = value < 0 ? -value : value;
        }
    }
    for (int64_t y = 0; y < r->rows; y++) {
        float *to = down + y * broad;
        for (int64_t x = 0; x < broad; x++)
            to[x] = second[y * broad + x] + second[(y + 1) * broad + x];
        for (int k = 2; k < WIDTH; k++)
            for (int64_t x = 0; x < broad; x++)
                to[x] += second[(y + k) * broad + x];
    }
    for (int64_t y = 0; y < r->rows; y++) {
        const float *from = down + y * broad;
        float *to = sums + y * r->columns;
        for (int64_t x = 0; x < r->columns; x++)
            to[x] = from[x] + from[x + 1];
        for (int k = 2; k < WIDTH; k++)
            for (int64_t x = 0; x < r->columns; x++)
                to[x] += from[x + k];
    }
}

/* The sorts of n places from their sums: twice the direction, plus 1 where a place is lively. */
static void sort(const float *restrict sums, int64_t area, int64_t n, float lively, int32_t *restrict sorts) {
    const float *restrict second = sums + area, *restrict third = sums + 2 * area, *restrict fourth = sums + 3 * area;
    for (int64_t x = 0; x < n; x++) {
        const float a = sums[x], b = second[x], c = third[x], d = fourth[x];
        const float two = a + b, total = (two + c) + d;
        float most = a;
        int32_t direction = 1;
        direction = b > most ? 2 : direction;
        most = (b > most) | (b != b) ? b : most;
        direction = c > most ? 3 : direction;
        most = (c > most) | (c != c) ? c : most;
        direction = d > most ? 4 : direction;
        most = (d > most) | (d != d) ? d : most;
        direction = most <= DIRECTED * total ? 0 : direction;
        sorts[x] = 2 * direction + (two > lively ? 1 : 0);
    }
}

static float cut(float value, float limit) {
    return value > limit ? limit : value < -limit ? -limit : value;
}

/* Columns that are filtered at once, feature by feature. */
#define BLOCK 64

EXPORT void mf_filter(const Rows *r) {
    const int64_t wide = r->columns + 2 * REACH, area = r->rows * r->columns;
    float *sums = r->space + 2 * (r->rows + 2 * NEAR) * (r->columns + 2 * NEAR);
    if (r->sorted) {
        variation(r, 0, 1, sums);
        variation(r, 1, 0, sums + area);
        variation(r, 1, 1, sums + 2 * area);
        variation(r, 1, -1, sums + 3 * area);
    }
    for (int64_t y = 0; y < r->rows; y++)
        for (int64_t first = 0; first < r->columns; first += BLOCK) {
            const int64_t at = y * r->columns + first, n = r->columns - first < BLOCK ? r->columns - first : BLOCK;
            const float *voxels = r->padded + (y + REACH) * wide + first + REACH, *weights = r->weights, limit = r->limit;
            int32_t sorts[BLOCK] = {0};
            float total[BLOCK] = {0}, twice[BLOCK];
            for (int64_t x = 0; x < n; x++)
                twice[x] = voxels[x] * 2.0f;
            if (r->sorted)
                sort(sums + at, area, n, r->lively, sorts);
            for (int32_t k = 0; k < r->n_pairs; k++, weights += SORTS) {
                const float *before = voxels - r->pairs[2 * k] * wide - r->pairs[2 * k + 1];
                const float *after = voxels + r->pairs[2 * k] * wide + r->pairs[2 * k + 1];
                for (int64_t x = 0; x < n; x++)
                    total[x] += weights[sorts[x]] * ((before[x] + after[x]) - twice[x]);
            }
            for (int32_t k = 0; k < r->n_clipped; k++, weights += SORTS) {
                const float *before = voxels - r->pairs[2 * k] * wide - r->pairs[2 * k + 1];
                const float *after = voxels + r->pairs[2 * k] * wide + r->pairs[2 * k + 1];
                for (int64_t x = 0; x < n; x++)
                    total[x] += weights[sorts[x]] * (cut(before[x] - voxels[x], limit) + cut(after[x] - voxels[x], limit));
            }
            for (int32_t k = 0; k < r->n_along; k++, weights += SORTS) {
                const float *before = r->along[2 * k] + at, *after = r->along[2 * k + 1] + at;
                for (int64_t x = 0; x < n; x++)
                    total[x] += weights[sorts[x]] * ((before[x] + after[x]) - twice[x]);
            }
            for (int64_t x = 0; x < n; x++)
                r->out[at + x] = total[x];
        }
}
