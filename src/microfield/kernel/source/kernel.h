/* What all sources of the kernel share: exported names, sets of instructions, networks in whole numbers.
 *
 * Every function here computes exactly what its NumPy counterpart computes, bit for bit, with any set of instructions: sums are of
 * whole numbers, and each float32 operation is a single one of IEEE 754 in the order of the NumPy code. So no fast-math, and no
 * fused multiply-add (-ffp-contract=off).
 */
#ifndef MICROFIELD_KERNEL_H
#define MICROFIELD_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernel computes on little-endian machines only; NumPy serves the others"
#endif

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

/* Sets of instructions, each with all that come before it. */
enum { PLAIN, SSE2, AVX2, AVX512 };

#if defined(__GNUC__) && defined(__x86_64__) && !defined(MICROFIELD_PLAIN)
#define HAS_X86 1
#else
#define HAS_X86 0
#endif

#if HAS_X86
#include <immintrin.h>
#endif

/* The whole number nearest to a value, ties to even, of absolute values below 2**22: float32 has no places left for more. */
static inline int32_t nearest(float value) {
    volatile float shifted = value + 12582912.0f;
    return (int32_t)(shifted - 12582912.0f);
}

/* The set in use: the best that this processor has, unless `mf_use` chose a lesser one. */
int mf_level(void);

#define MOST_WIDTH 160
/* Inputs and outputs of a layer, at most; the callers check that. */

/* One layer of a network in whole numbers. Inputs come in pairs, outputs in fours, both filled up with zeros. */
typedef struct {
    int32_t pairs;           /* pairs of inputs */
    int32_t outputs;         /* a multiple of 4 */
    const int16_t *weights;  /* (outputs, 2 * pairs) */
    const int32_t *biases;   /* (outputs,) */
    const float *factors;    /* (outputs,): what sums are multiplied by before they are rounded; unused in the last layer */
    float largest;           /* activations are cut to 0 .. largest, which 16 bits hold */
} Layer;

#define MOST_LAYERS 4

typedef struct {
    int32_t layers;
    Layer layer[MOST_LAYERS];
} Network;

/* Columns that go through a network at once. */
#define TILE 32

/* Runs a network on TILE columns.
 *
 * inputs   (pairs, TILE, 2), the columns of a pair of inputs side by side
 * biases   of the first layer instead of its own, or NULL
 * sums     (outputs of the last layer, TILE): its sums, biases included
 * hidden   (pairs of the last layer, TILE, 2): what enters the last layer
 */
typedef void (*RunNetwork)(const Network *network, const int16_t *inputs, const int32_t *biases, int32_t *sums, int16_t *hidden);

RunNetwork mf_run_network(void);

#endif
