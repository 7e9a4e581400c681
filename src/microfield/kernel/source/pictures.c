/* Whole numbers to features and to values (microfield.methods.field.features, .walk), one by one. */
#include <string.h>

#include "kernel.h"

#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127

/* Piecewise linear log2(1 + values) in units of 2**-bits, cut at 255; values from 0 to below 2**24. */
EXPORT void mf_logarithm(const int32_t *values, int64_t n, int32_t bits, uint8_t *out) {
    for (int64_t i = 0; i < n; i++) {
        const float one_more = (float)(values[i] + 1);
        int32_t found;
        memcpy(&found, &one_more, sizeof found);
        found = (found >> (MANTISSA_BITS - bits)) - (EXPONENT_BIAS << bits);
        out[i] = (uint8_t)(found < 255 ? found : 255);
    }
}

/* Values in steps: centroids (7,) of -3 to 3, and larger ones as they are. */
EXPORT void mf_reconstruct(const int32_t *quantised, int64_t n, const float *centroids, float *out) {
    for (int64_t i = 0; i < n; i++) {
        const int32_t q = quantised[i];
        out[i] = q >= -3 && q <= 3 ? centroids[q + 3] : (float)q;
    }
}
