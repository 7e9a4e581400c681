/* Rounding by error and bits (microfield.methods.field.quantise), all errors of the same weight. */
#include "kernel.h"

#define SIGN_BITS 1.0f
#define CENTROIDS 3

/* Magnitudes that minimise squared error plus `rdo` times bits, of 0, the nearest whole number and the one below.
 *
 * scaled   (n,): magnitudes in steps
 * buckets  three times (n,): of significance, of more than one, of the tail
 * costs    (32, 2): bits of a 0 and a 1 in each bucket
 * typical  (4,): values of magnitudes 0 to 3
 */
EXPORT void mf_quantise(const float *scaled, int64_t n, const uint8_t *significance, const uint8_t *above_one, const uint8_t *tail,
                        const float *costs, const float *typical, float rdo, int32_t *out) {
    for (int64_t i = 0; i < n; i++) {
        const float value = scaled[i];
        const int32_t nearest_one = (int32_t)(value + 0.5f);
        const float significant = SIGN_BITS + costs[2 * significance[i] + 1], one = costs[2 * above_one[i]];
        const float more = costs[2 * above_one[i] + 1] + costs[2 * tail[i] + 1], longer = costs[2 * tail[i]];
        float least = value * value + rdo * costs[2 * significance[i]];
        int32_t found = 0;
        for (int32_t candidate = nearest_one - 1; candidate <= nearest_one; candidate++) {
            if (candidate < 1)
                continue;
            const float away = value - (candidate <= CENTROIDS ? typical[candidate] : (float)candidate);
            /* NumPy takes whole numbers times float32 in double precision, and keeps the least in single. */
            const double bits = (double)significant + (candidate > 1 ? (double)more + (double)(candidate - 2) * (double)longer : (double)one);
            const double cost = (double)(away * away) + (double)rdo * bits;
            if (cost < (double)least) {
                found = candidate;
                least = (float)cost;
            }
        }
        out[i] = found;
    }
}
