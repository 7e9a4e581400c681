/* Differences to features, for one set of instructions; included by refine.c once for each of them. Expects `vectors.h`. */

/* A difference to a feature; what it adds to the liveliness is added to `lively`. */
TARGET static inline INTS NAME(squashed)(FLOATS value, FLOATS *lively) {
    const FLOATS size = ABS_F(value), capped = MIN_F(size, SPREAD_F(LIVELY_CAP));
    *lively = ADD_F(*lively, TO_FLOATS(TO_INTS(MUL_F(capped, SPREAD_F(LIVELY_ONE)))));
    return TO_INTS(MUL_F(DIV_F(value, ADD_F(size, SPREAD_F(1))), SPREAD_F(FEATURE_ONE)));
}

/* TILE columns of differences to pairs of features, and the liveliness of the window in whole numbers. */
TARGET static void NAME(squash)(const float *values, int16_t *pairs, float *lively) {
    for (int j = 0; j < TILE; j += LANES) {
        FLOATS total = SPREAD_F(0), aside = SPREAD_F(0);
        for (int k = 0; k < WINDOW + MEANS; k += 2) {
            FLOATS *sum = k < WINDOW ? &total : &aside;
            const INTS low = NAME(squashed)(LOAD_F(values + k * TILE + j), sum);
            const INTS high = NAME(squashed)(LOAD_F(values + (k + 1) * TILE + j), sum);
            STORE(pairs + k * TILE + 2 * j, JOIN(low, high));
        }
        STORE_F(lively + j, total);
    }
}
