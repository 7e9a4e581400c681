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
#include <immintrin.h>

/* SSE2, which every processor of this kind has. */
static inline __m128i active_sse2(__m128i sums, float factor, float largest) {
    __m128 v = _mm_mul_ps(_mm_cvtepi32_ps(sums), _mm_set1_ps(factor));
    return _mm_cvtps_epi32(_mm_min_ps(_mm_max_ps(v, _mm_setzero_ps()), _mm_set1_ps(largest)));
}
#define NAME(x) x##_sse2
#define TARGET
#define LANES 4
#define INTS __m128i
#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define SPREAD(v) _mm_set1_epi32(v)
#define OR(a, b) _mm_or_si128(a, b)
#define ANY(v) (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) != 0xFFFF)
#define ADD_PRODUCTS(sum, x, w) _mm_add_epi32(sum, _mm_madd_epi16(x, w))
#define JOIN(low, high) _mm_or_si128(low, _mm_slli_epi32(high, 16))
#define ACTIVE active_sse2
#include "network_body.h"

__attribute__((target("avx2"))) static inline __m256i active_avx2(__m256i sums, float factor, float largest) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(factor));
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), _mm256_set1_ps(largest)));
}
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define INTS __m256i
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define SPREAD(v) _mm256_set1_epi32(v)
#define OR(a, b) _mm256_or_si256(a, b)
#define ANY(v) (!_mm256_testz_si256(v, v))
#define ADD_PRODUCTS(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#define JOIN(low, high) _mm256_or_si256(low, _mm256_slli_epi32(high, 16))
#define ACTIVE active_avx2
#include "network_body.h"

#define AVX512_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
AVX512_TARGET static inline __m512i active_avx512(__m512i sums, float factor, float largest) {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(factor));
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(largest)));
}
#define NAME(x) x##_avx512
#define TARGET AVX512_TARGET
#define LANES 16
#define INTS __m512i
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define SPREAD(v) _mm512_set1_epi32(v)
#define OR(a, b) _mm512_or_si512(a, b)
#define ANY(v) (_mm512_test_epi32_mask(v, v) != 0)
#define ADD_PRODUCTS(sum, x, w) _mm512_dpwssd_epi32(sum, x, w)
#define JOIN(low, high) _mm512_or_si512(low, _mm512_slli_epi32(high, 16))
#define ACTIVE active_avx512
#include "network_body.h"
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

/* The whole number nearest to a value from 0 to below 2**15, ties to even. Adding and taking away 2**23 rounds so in float32. */
static int16_t nearest_plain(float value) {
    volatile float shifted = value + 8388608.0f;
    return (int16_t)(shifted - 8388608.0f);
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
                out[(ptrdiff_t)(h / 2) * 2 * TILE + 2 * j + h % 2] = nearest_plain(v);
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
