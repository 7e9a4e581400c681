/* Decisions by bucket and the gaps between the rarer ones (microfield.coding.decision_places). */
#include "kernel.h"

#define BUCKETS 32
#define LOW_BUCKETS (BUCKETS / 2)

/* The next flags of buckets (n,), all below 32.
 *
 * places  of all rarer bits, bucket by bucket, then one that is never reached
 * at      (32,): place of the next decision of every bucket
 * next    (32,): index of the next place of every bucket
 */
EXPORT void mf_flags(const uint8_t *buckets, int64_t n, const int64_t *places, int64_t *at, int64_t *next, uint8_t *out) {
    int64_t due[BUCKETS];
    for (int b = 0; b < BUCKETS; b++)
        due[b] = places[next[b]];
    for (int64_t i = 0; i < n; i++) {
        const uint8_t b = buckets[i];
        const int rare = at[b]++ == due[b];
        if (rare)
            due[b] = places[++next[b]];
        out[i] = (uint8_t)(rare != (b >= LOW_BUCKETS));
    }
}

/* The next runs of buckets (n,); 0, or 1 where there are no more. `ends`, (32,), are those of the buckets among gaps and places. */
EXPORT int32_t mf_runs(const uint8_t *buckets, int64_t n, const int64_t *gaps, const int64_t *places, const int64_t *ends,
                       int64_t *at, int64_t *next, int64_t *out) {
    for (int64_t i = 0; i < n; i++) {
        const uint8_t b = buckets[i];
        if (b < LOW_BUCKETS) {
            if (next[b] >= ends[b])
                return 1;
            out[i] = gaps[next[b]++];
            continue;
        }
        int64_t value = 0;
        while (next[b] < ends[b] && places[next[b]] == at[b]) {
            value++;
            next[b]++;
        }
        at[b]++;
        out[i] = value;
    }
    return 0;
}

/* Rarer bits among flags: how many. `passed`, (32,), is the first place of each bucket plus the likelier bits so far; `rarer` has
 * room for n. */
EXPORT int64_t mf_rarer_flags(const uint8_t *buckets, const uint8_t *bits, int64_t n, int64_t *passed, int64_t *rarer) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t b = buckets[i];
        const int rare = (bits[i] != 0) != (b >= LOW_BUCKETS);
        rarer[count] = passed[b];
        count += rare;
        passed[b] += !rare;
    }
    return count;
}

/* Rarer bits among runs: how many. `rarer` has room for n, and for all runs of the high buckets. */
EXPORT int64_t mf_rarer_runs(const uint8_t *buckets, const int64_t *values, int64_t n, int64_t *passed, int64_t *rarer) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t b = buckets[i];
        if (b < LOW_BUCKETS) {
            /* The zeros of a run are the likelier bits, and its end is the rarer one. */
            passed[b] += values[i];
            rarer[count++] = passed[b];
        } else {
            for (int64_t k = 0; k < values[i]; k++)
                rarer[count++] = passed[b];
            passed[b]++;
        }
    }
    return count;
}
