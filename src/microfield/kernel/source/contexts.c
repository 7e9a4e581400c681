/* The context network of `field` on a slab of a phase: features, network, buckets (microfield.methods.field.features, .network). */
#include <string.h>

#include "kernel.h"

/* Columns whose features are gathered before the network runs. */
#define CHUNK (4 * TILE)

#define BUCKETS 32
#define HALF_LOGIT_BITS 11
/* A bucket is half a logit wide; a logit of 1 is a sum of 4096. */

/* Kinds of planes: how a feature is stored. */
enum { NOTHING, UNSIGNED_8, SIGNED_8, SIGNED_16 };

/* Where the features of a slab come from; its axes are batch, z, y, x. */
typedef struct {
    int64_t extents[4];
    int32_t groups;                      /* of neighbours: sums of magnitudes, looked up in a table */
    int32_t planes;                      /* other features */
    const int32_t *members;              /* (groups,): magnitudes in each */
    const uint8_t *const *neighbours;    /* of all groups, one after the other: magnitudes of the slab's neighbours */
    const uint8_t *const *tables;        /* (groups,): features by sum */
    int64_t neighbour_strides[3];        /* along batch, z, y; along x magnitudes follow one another */
    const int32_t *kinds;                /* (planes,) */
    const uint8_t *const *values;        /* (planes,); NULL where nothing is known */
    const int64_t *strides;              /* (planes, 4), in bytes */
} Features;

/* A piece of a row of the slab: `n` columns from x on, of row (b, z, y). */
typedef struct {
    int64_t b, z, y, x;
    int n;
} Piece;

static void sum_of_neighbours(const Features *f, const uint8_t *const *sources, int members, const uint8_t *table, Piece p,
                              int16_t *out) {
    uint8_t sums[CHUNK];
    const int64_t *s = f->neighbour_strides;
    const int64_t at = p.b * s[0] + p.z * s[1] + p.y * s[2] + p.x;
    memcpy(sums, sources[0] + at, (size_t)p.n);
    for (int m = 1; m < members; m++) {
        const uint8_t *more = sources[m] + at;
        for (int j = 0; j < p.n; j++)
            sums[j] = (uint8_t)(sums[j] + more[j]);
    }
    /* Most sums are 0. */
    for (int j = 0; j < p.n; j += 8) {
        const int end = j + 8 < p.n ? j + 8 : p.n;
        uint64_t eight = 1;
        if (end == j + 8)
            memcpy(&eight, sums + j, 8);
        if (eight)
            for (int i = j; i < end; i++)
                out[i] = table[sums[i]];
        else
            for (int i = j; i < end; i++)
                out[i] = table[0];
    }
}

static void known_plane(const uint8_t *values, int32_t kind, const int64_t *strides, Piece p, int16_t *out) {
    const int64_t step = strides[3];
    const uint8_t *row = values + p.b * strides[0] + p.z * strides[1] + p.y * strides[2] + p.x * step;
    if (kind == UNSIGNED_8 && step == 1) {
        for (int j = 0; j < p.n; j++)
            out[j] = row[j];
    } else if (kind == UNSIGNED_8 && step == 2) {
        for (int j = 0; j < p.n; j++)
            out[j] = row[2 * j];
    } else if (kind == UNSIGNED_8) {
        for (int j = 0; j < p.n; j++)
            out[j] = row[j * step];
    } else if (kind == SIGNED_8) {
        for (int j = 0; j < p.n; j++)
            out[j] = ((const int8_t *)row)[j * step];
    } else {
        for (int j = 0; j < p.n; j++)
            memcpy(out + j, row + j * step, sizeof *out);
    }
}

/* Features of a piece of a row: into rows of CHUNK, from a column on. */
static void gather(const Features *f, Piece p, int16_t *out) {
    const uint8_t *const *sources = f->neighbours;
    for (int g = 0; g < f->groups; g++, out += CHUNK) {
        if (f->members[g])
            sum_of_neighbours(f, sources, f->members[g], f->tables[g], p, out);
        else
            memset(out, 0, sizeof *out * (size_t)p.n);
        sources += f->members[g];
    }
    for (int k = 0; k < f->planes; k++, out += CHUNK) {
        if (f->kinds[k] == NOTHING)
            memset(out, 0, sizeof *out * (size_t)p.n);
        else
            known_plane(f->values[k], f->kinds[k], f->strides + 4 * k, p, out);
    }
}

/* Rows of CHUNK to pairs of TILE columns. */
static void pair_up(const int16_t *rows, int features, int16_t *pairs) {
    int k = 0;
    for (; k + 1 < features; k += 2, rows += 2 * CHUNK, pairs += 2 * TILE)
        for (int j = 0; j < TILE; j++)
            pairs[2 * j] = rows[j], pairs[2 * j + 1] = rows[CHUNK + j];
    if (k < features)
        for (int j = 0; j < TILE; j++)
            pairs[2 * j] = rows[j], pairs[2 * j + 1] = 0;
}

static uint8_t bucket(int32_t sum) {
    const int32_t found = (sum >> HALF_LOGIT_BITS) + BUCKETS / 2;
    return (uint8_t)(found < 0 ? 0 : found > BUCKETS - 1 ? BUCKETS - 1 : found);
}

typedef struct {
    const Network *network;
    const int32_t *biases;
    RunNetwork run;
    int features, logits, activations;
    int64_t total;           /* coefficients of the slab */
    uint8_t *buckets;        /* (logits, total) */
    uint8_t *hidden;         /* (total, activations) or NULL */
} Evaluation;

/* Runs the network on the first n columns of a chunk, which are coefficients from `first` on. */
static void evaluate(const Evaluation *e, const int16_t *rows, int n, int64_t first) {
    int16_t pairs[MOST_WIDTH * TILE], hidden[MOST_WIDTH * TILE];
    int32_t sums[MOST_WIDTH * TILE];
    for (int begin = 0; begin < n; begin += TILE, first += TILE) {
        const int columns = n - begin < TILE ? n - begin : TILE;
        pair_up(rows + begin, e->features, pairs);
        e->run(e->network, pairs, e->biases, sums, hidden);
        for (int i = 0; i < e->logits; i++) {
            uint8_t *out = e->buckets + i * e->total + first;
            for (int j = 0; j < columns; j++)
                out[j] = bucket(sums[i * TILE + j]);
        }
        if (e->hidden)
            for (int j = 0; j < columns; j++)
                for (int h = 0; h < e->activations; h++)
                    e->hidden[(first + j) * e->activations + h] = (uint8_t)hidden[h / 2 * 2 * TILE + 2 * j + h % 2];
    }
}

/* Buckets of all logits, and on request the activations that enter the last layer.
 *
 * features   where they come from; their number is that of groups and planes, at most MOST_WIDTH
 * biases     (outputs of the first layer,): those of the phase
 * logits     how many of the last layer's outputs are asked for
 * buckets    (logits, coefficients of the slab)
 * activations, hidden   how many of them, and where to put them (coefficients, activations), or NULL
 */
EXPORT void mf_contexts(const Features *features, const Network *network, const int32_t *biases, int32_t logits,
                        uint8_t *buckets, int32_t activations, uint8_t *hidden) {
    const int64_t *extents = features->extents;
    Evaluation e = {network, biases, mf_run_network(), features->groups + features->planes, logits, activations,
                    extents[0] * extents[1] * extents[2] * extents[3], buckets, hidden};
    int16_t rows[MOST_WIDTH * CHUNK];
    int filled = 0;
    int64_t done = 0;
    /* The last tile of the slab may have columns that nobody asked for. */
    memset(rows, 0, sizeof *rows * CHUNK * (size_t)e.features);
    for (Piece p = {0, 0, 0, 0, 0}; p.b < extents[0]; p.b++)
        for (p.z = 0; p.z < extents[1]; p.z++)
            for (p.y = 0; p.y < extents[2]; p.y++)
                for (p.x = 0; p.x < extents[3]; p.x += p.n) {
                    const int64_t left = extents[3] - p.x;
                    p.n = left < CHUNK - filled ? (int)left : CHUNK - filled;
                    gather(features, p, rows + filled);
                    filled += p.n;
                    if (filled == CHUNK) {
                        evaluate(&e, rows, filled, done);
                        done += filled;
                        filled = 0;
                    }
                }
    if (filled)
        evaluate(&e, rows, filled, done);
}
