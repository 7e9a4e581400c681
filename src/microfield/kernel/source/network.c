/* Networks of clipped rectifiers in whole numbers, as `microfield.kernel.networks` describes them.
 *
 * Weights and activations have 16 bits, sums 32, so products are exact and may be added up in any order. Two inputs lie side by side,
 * since that is what multiply-add instructions of 16 bits take.
 */
#include <string.h>

#include "kernel.h"

static inline int32_t PAIR(const int16_t *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return pair;
}

#if HAS_X86
#define LEVEL 1
#include "vectors.h"
#include "network_body.h"
#undef LEVEL
#define LEVEL 2
#include "vectors.h"
#include "network_body.h"
#undef LEVEL
#define LEVEL 3
#include "vectors.h"
#include "network_body.h"
#undef LEVEL
#endif

/* Any processor. The compiler finds vector instructions for the loops over columns. */
static void layer_plain(const Layer *layer, const int32_t *biases, const int16_t *inputs, int32_t sums[TILE], int output) {
    const int16_t *w = layer->weights + (ptrdiff_t)output * 2 * layer->pairs;
    for (int j = 0; j < TILE; j++)
        sums[j] = biases[output];
    for (int k = 0; k < layer->pairs; k++) {
        const int16_t *row = inputs + (ptrdiff_t)k * 2 * TILE;
        const int32_t first = w[2 * k], second = w[2 * k + 1];
        for (int j = 0; j < TILE; j++)
            sums[j] += first * row[2 * j] + second * row[2 * j + 1];
    }
}

static void run_plain(const Network *network, const int16_t *inputs, const int32_t *biases, int32_t *sums, int16_t *hidden) {
    int16_t space[2][MOST_WIDTH * TILE];
    int32_t row[TILE];
    const int last = network->layers - 1;
    for (int i = 0; i < last; i++) {
        const Layer *layer = &network->layer[i];
        int16_t *out = i == last - 1 ? hidden : space[i & 1];
        for (int h = 0; h < layer->outputs; h++) {
            layer_plain(layer, i == 0 && biases ? biases : layer->biases, inputs, row, h);
            for (int j = 0; j < TILE; j++) {
                float v = (float)row[j] * layer->factors[h];
                v = v > 0 ? v : 0;
                v = v < layer->largest ? v : layer->largest;
                out[(ptrdiff_t)(h / 2) * 2 * TILE + 2 * j + h % 2] = (int16_t)nearest(v);
            }
        }
        inputs = out;
    }
    const Layer *layer = &network->layer[last];
    for (int h = 0; h < layer->outputs; h++)
        layer_plain(layer, last == 0 && biases ? biases : layer->biases, inputs, sums + (ptrdiff_t)h * TILE, h);
}

RunNetwork mf_run_network(void) {
    switch (mf_level()) {
#if HAS_X86
    case SSE2: return run_sse2;
    case AVX2: return run_avx2;
    case AVX512: return run_avx512;
#endif
    default: return run_plain;
    }
}

/* Sums of the last layer, (outputs, n), of columns of whole inputs, (features, n). */
EXPORT void mf_network(const Network *network, const float *inputs, int32_t features, int64_t n, int32_t outputs, int32_t *sums) {
    const RunNetwork run = mf_run_network();
    int16_t pairs[MOST_WIDTH * TILE], hidden[MOST_WIDTH * TILE];
    int32_t found[MOST_WIDTH * TILE];
    memset(pairs, 0, sizeof pairs);
    for (int64_t begin = 0; begin < n; begin += TILE) {
        const int columns = n - begin < TILE ? (int)(n - begin) : TILE;
        for (int k = 0; k < features; k++) {
            const float *row = inputs + k * n + begin;
            int16_t *out = pairs + k / 2 * 2 * TILE + k % 2;
            for (int j = 0; j < columns; j++)
                out[2 * j] = (int16_t)row[j];
        }
        run(network, pairs, NULL, found, hidden);
        for (int i = 0; i < outputs; i++)
            memcpy(sums + i * n + begin, found + i * TILE, sizeof *sums * (size_t)columns);
    }
}
