/* The refinement network of `field` in whole numbers (microfield.methods.field.refine_cells, .refine_whole) on a slab of a volume. */
#include <string.h>

#include "kernel.h"

#define PLANES 3
#define WINDOW 108
#define RING 16
#define MEANS (RING + 2)
#define FEATURES (WINDOW + MEANS + 2)
#define HALO 2
#define VALUE_CAP 1048576.0f
#define FEATURE_ONE 1024.0f
#define LIVELY_ONE 16.0f
#define LIVELY_CAP 128.0f
#define LEAST_LIVELINESS 0.02f
#define LARGEST_BRIGHTNESS (14 * 1024)
#define LARGEST_LIVELINESS (5 * 1024)
#define CURVE 0.344f
#define LN2 0.6931472f
#define LARGEST_CORRECTION 4.0f

typedef struct {
    const float *volume;     /* (z, y, x) in voxels, C order */
    float *out;              /* likewise */
    int64_t shape[3];        /* of both */
    int64_t begin[3];        /* the slab: planes, rows and columns of cells, from here */
    int64_t end[3];          /* to before here */
    float step, dark;
    float *space;            /* 5 floats for each cell of the slab and its halo of 2 */
    const Network *network;
    const float *factors;    /* (4,): what the last sums are multiplied by */
} Slab;

/* Cells with their halo: values of the four voxels of each, and means; (z, y, x). */
typedef struct {
    int64_t extents[3];
    float *phases[2][2];
    float *means;
} Cells;

static int64_t within(int64_t at, int64_t n) {
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

/* A value in steps above dark, finite. */
static float in_steps(float value, float dark, float step) {
    const float v = (value - dark) / step;
    if (v != v)
        return 0;
    return v > VALUE_CAP ? VALUE_CAP : v < -VALUE_CAP ? -VALUE_CAP : v;
}

static void cut(const Slab *s, const Cells *c) {
    const int64_t first = 2 * (s->begin[2] - HALO), nx = c->extents[2];
    /* Cells whose columns all lie within the volume. */
    const int64_t inner = (within(first, s->shape[2]) - first + 1) / 2;
    const int64_t outer = (s->shape[2] - first) / 2 < nx ? (s->shape[2] - first) / 2 : nx;
    for (int64_t z = 0; z < c->extents[0]; z++)
        for (int64_t y = 0; y < c->extents[1]; y++) {
            const int64_t at = (z * c->extents[1] + y) * nx;
            for (int py = 0; py < 2; py++) {
                const int64_t plane = within(s->begin[0] - HALO + z, s->shape[0]);
                const int64_t row = within(2 * (s->begin[1] - HALO + y) + py, s->shape[1]);
                const float *from = s->volume + (plane * s->shape[1] + row) * s->shape[2];
                float *even = c->phases[py][0] + at, *odd = c->phases[py][1] + at;
                const float dark = s->dark, step = s->step;
                for (int64_t x = inner; x < outer; x++) {
                    even[x] = in_steps(from[first + 2 * x], dark, step);
                    odd[x] = in_steps(from[first + 2 * x + 1], dark, step);
                }
                for (int64_t x = 0; x < nx; x++) {
                    if (x == inner && outer > inner)
                        x = outer;
                    if (x >= nx)
                        break;
                    even[x] = in_steps(from[within(first + 2 * x, s->shape[2])], dark, step);
                    odd[x] = in_steps(from[within(first + 2 * x + 1, s->shape[2])], dark, step);
                }
            }
            for (int64_t x = at; x < at + nx; x++)
                c->means[x] = (c->phases[0][0][x] + c->phases[0][1][x] + c->phases[1][0][x] + c->phases[1][1][x]) * 0.25f;
        }
}

/* Differences of window and means to the mean of the cell, for n cells of a row: into rows of TILE. `at` is the first cell. */
static void differences(const Cells *c, int64_t at, int n, float *out, float *centres) {
    const int64_t row = c->extents[2], plane = c->extents[1] * row;
    const float *centre = c->means + at;
    for (int py = 0; py < 2; py++)
        for (int px = 0; px < 2; px++)
            for (int dz = -1; dz <= 1; dz++)
                for (int dy = -1; dy <= 1; dy++)
                    for (int dx = -1; dx <= 1; dx++, out += TILE) {
                        const float *from = c->phases[py][px] + at + dz * plane + dy * row + dx;
                        for (int j = 0; j < n; j++)
                            out[j] = from[j] - centre[j];
                    }
    for (int dy = -2; dy <= 2; dy++)
        for (int dx = -2; dx <= 2; dx++) {
            if (dy > -2 && dy < 2 && dx > -2 && dx < 2)
                continue;
            for (int j = 0; j < n; j++)
                out[j] = centre[dy * row + dx + j] - centre[j];
            out += TILE;
        }
    for (int dz = -2; dz <= 2; dz += 4, out += TILE)
        for (int j = 0; j < n; j++)
            out[j] = centre[dz * plane + j] - centre[j];
    memcpy(centres, centre, sizeof *centre * (size_t)n);
}

/* About the natural logarithm of a normal float above 0. */
static float logarithm(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int32_t exponent = (int32_t)(bits >> 23) - 127;
    bits = (bits & 0x7FFFFF) | 0x3F000000;
    float t;
    memcpy(&t, &bits, sizeof t);
    t = t * 2.0f - 1.0f;
    t += CURVE * (t * (1.0f - t));
    t += (float)exponent;
    return t * LN2;
}

static int16_t feature(float value, int32_t largest) {
    const int32_t whole = nearest(value * FEATURE_ONE);
    return (int16_t)(whole > largest ? largest : whole < -largest ? -largest : whole);
}

#define LEVEL 0
#include "vectors.h"
#include "refine_body.h"
#undef LEVEL
#if HAS_X86
#define LEVEL 1
#include "vectors.h"
#include "refine_body.h"
#undef LEVEL
#define LEVEL 2
#include "vectors.h"
#include "refine_body.h"
#undef LEVEL
#define LEVEL 3
#include "vectors.h"
#include "refine_body.h"
#undef LEVEL
#endif

typedef void (*Squash)(const float *differences, int16_t *pairs, float *lively);

static Squash squash_of_level(void) {
    switch (mf_level()) {
#if HAS_X86
    case SSE2: return squash_sse2;
    case AVX2: return squash_avx2;
    case AVX512: return squash_avx512;
#endif
    default: return squash_plain;
    }
}

/* A cell of a tile: plane and row in the slab, column. */
typedef struct {
    int64_t z, y, x;
} Place;

static void store(const Slab *s, const Place *places, int n, const int32_t *sums) {
    for (int k = 0; k < 4; k++)
        for (int j = 0; j < n; j++) {
            const int64_t y = 2 * (s->begin[1] + places[j].y) + k / 2, x = 2 * (s->begin[2] + places[j].x) + k % 2;
            if (y >= s->shape[1] || x >= s->shape[2])
                continue;
            float v = (float)sums[k * TILE + j] * s->factors[k];
            v = v > LARGEST_CORRECTION ? LARGEST_CORRECTION : v < -LARGEST_CORRECTION ? -LARGEST_CORRECTION : v;
            s->out[((s->begin[0] + places[j].z) * s->shape[1] + y) * s->shape[2] + x] = v * s->step;
        }
}

static void evaluate(const Slab *s, const float *values, const float *centres, const Place *places, int n, RunNetwork run,
                     Squash squash) {
    int16_t pairs[FEATURES * TILE], hidden[MOST_WIDTH * TILE];
    int32_t sums[MOST_WIDTH * TILE];
    float lively[TILE];
    squash(values, pairs, lively);
    for (int j = 0; j < TILE; j++) {
        const float bright = centres[j] > 0 ? centres[j] : 0;
        pairs[(FEATURES - 2) * TILE + 2 * j] = feature(logarithm(bright + 1.0f), LARGEST_BRIGHTNESS);
        pairs[(FEATURES - 2) * TILE + 2 * j + 1] =
            feature(logarithm(lively[j] * (1 / (LIVELY_ONE * WINDOW)) + LEAST_LIVELINESS), LARGEST_LIVELINESS);
    }
    run(s->network, pairs, NULL, sums, hidden);
    store(s, places, n, sums);
}

/* Corrections of a slab, in the units of the volume, into `out`. */
EXPORT void mf_refine(const Slab *s) {
    Cells c;
    int64_t extents[3], cells = 1;
    for (int i = 0; i < 3; i++) {
        extents[i] = s->end[i] - s->begin[i];
        c.extents[i] = extents[i] + 2 * HALO;
        cells *= c.extents[i];
    }
    for (int k = 0; k < 4; k++)
        c.phases[k / 2][k % 2] = s->space + k * cells;
    c.means = s->space + 4 * cells;
    cut(s, &c);

    const RunNetwork run = mf_run_network();
    const Squash squash = squash_of_level();
    float values[(WINDOW + MEANS) * TILE] = {0}, centres[TILE] = {0};
    Place places[TILE];
    int filled = 0;
    for (int64_t z = 0; z < extents[0]; z++)
        for (int64_t y = 0; y < extents[1]; y++)
            for (int64_t x = 0; x < extents[2];) {
                const int n = extents[2] - x < TILE - filled ? (int)(extents[2] - x) : TILE - filled;
                const int64_t at = ((z + HALO) * c.extents[1] + y + HALO) * c.extents[2] + x + HALO;
                differences(&c, at, n, values + filled, centres + filled);
                for (int j = 0; j < n; j++, x++)
                    places[filled++] = (Place){z, y, x};
                if (filled == TILE) {
                    evaluate(s, values, centres, places, filled, run, squash);
                    filled = 0;
                }
            }
    if (filled)
        evaluate(s, values, centres, places, filled, run, squash);
}
