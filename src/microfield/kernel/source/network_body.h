/* The layers of a network for one set of instructions; included by network.c once for each of them.
 *
 * Expects `vectors.h`.
 */

/* The pairs of inputs that are not zero in all TILE columns: others add nothing. */
TARGET static int NAME(used_pairs)(const int16_t *inputs, int pairs, int16_t *used) {
    int count = 0;
    for (int k = 0; k < pairs; k++) {
        const int16_t *row = inputs + (ptrdiff_t)k * 2 * TILE;
        INTS any = LOAD(row);
        for (int j = LANES; j < TILE; j += LANES)
            any = OR(any, LOAD(row + 2 * j));
        used[count] = (int16_t)k;
        count += ANY(any);
    }
    return count;
}

/* Sums of four outputs from `first` on, for 2 * LANES columns from `column` on. */
#define FOUR_SUMS(layer, biases, first, inputs, column)                                                  \
    const int16_t *w = (layer)->weights + (ptrdiff_t)(first) * 2 * (layer)->pairs;                       \
    const ptrdiff_t next = 2 * (ptrdiff_t)(layer)->pairs;                                                \
    INTS a0 = SPREAD((biases)[(first)]), a1 = SPREAD((biases)[(first) + 1]);                             \
    INTS a2 = SPREAD((biases)[(first) + 2]), a3 = SPREAD((biases)[(first) + 3]);                         \
    INTS b0 = a0, b1 = a1, b2 = a2, b3 = a3;                                                             \
    for (int i = 0; i < count; i++) {                                                                    \
        const int k = used[i];                                                                           \
        const int16_t *row = (inputs) + 2 * ((ptrdiff_t)k * TILE + (column));                            \
        const INTS x = LOAD(row), y = LOAD(row + 2 * LANES);                                             \
        INTS v = SPREAD(PAIR(w + 2 * k));                                                                \
        a0 = ADD_PRODUCTS(a0, x, v), b0 = ADD_PRODUCTS(b0, y, v);                                        \
        v = SPREAD(PAIR(w + next + 2 * k));                                                              \
        a1 = ADD_PRODUCTS(a1, x, v), b1 = ADD_PRODUCTS(b1, y, v);                                        \
        v = SPREAD(PAIR(w + 2 * next + 2 * k));                                                          \
        a2 = ADD_PRODUCTS(a2, x, v), b2 = ADD_PRODUCTS(b2, y, v);                                        \
        v = SPREAD(PAIR(w + 3 * next + 2 * k));                                                          \
        a3 = ADD_PRODUCTS(a3, x, v), b3 = ADD_PRODUCTS(b3, y, v);                                        \
    }

/* Sums to activations. */
TARGET static inline INTS NAME(active)(INTS sums, float factor, float largest) {
    const FLOATS scaled = MUL_F(TO_FLOATS(sums), SPREAD_F(factor));
    return TO_INTS(MIN_F(MAX_F(scaled, SPREAD_F(0)), SPREAD_F(largest)));
}

TARGET static void NAME(hidden_layer)(const Layer *layer, const int32_t *biases, const int16_t *inputs, int16_t *outputs) {
    int16_t used[MOST_WIDTH / 2];
    const int count = NAME(used_pairs)(inputs, layer->pairs, used);
    for (int h = 0; h < layer->outputs; h += 4) {
        const float *f = layer->factors + h;
        for (int j = 0; j < TILE; j += 2 * LANES) {
            FOUR_SUMS(layer, biases, h, inputs, j)
            int16_t *out = outputs + (ptrdiff_t)h * TILE + 2 * j;
            STORE(out, JOIN(NAME(active)(a0, f[0], layer->largest), NAME(active)(a1, f[1], layer->largest)));
            STORE(out + 2 * LANES, JOIN(NAME(active)(b0, f[0], layer->largest), NAME(active)(b1, f[1], layer->largest)));
            out += 2 * TILE;
            STORE(out, JOIN(NAME(active)(a2, f[2], layer->largest), NAME(active)(a3, f[3], layer->largest)));
            STORE(out + 2 * LANES, JOIN(NAME(active)(b2, f[2], layer->largest), NAME(active)(b3, f[3], layer->largest)));
        }
    }
}

TARGET static void NAME(last_layer)(const Layer *layer, const int32_t *biases, const int16_t *inputs, int32_t *sums) {
    int16_t used[MOST_WIDTH / 2];
    const int count = NAME(used_pairs)(inputs, layer->pairs, used);
    for (int h = 0; h < layer->outputs; h += 4) {
        for (int j = 0; j < TILE; j += 2 * LANES) {
            FOUR_SUMS(layer, biases, h, inputs, j)
            int32_t *out = sums + (ptrdiff_t)h * TILE + j;
            STORE(out, a0), STORE(out + LANES, b0);
            STORE(out + TILE, a1), STORE(out + TILE + LANES, b1);
            STORE(out + 2 * TILE, a2), STORE(out + 2 * TILE + LANES, b2);
            STORE(out + 3 * TILE, a3), STORE(out + 3 * TILE + LANES, b3);
        }
    }
}

TARGET static void NAME(run)(const Network *network, const int16_t *inputs, const int32_t *biases, int32_t *sums,
                             int16_t *hidden) {
    int16_t space[2][MOST_WIDTH * TILE];
    const int last = network->layers - 1;
    for (int i = 0; i < last; i++) {
        const Layer *layer = &network->layer[i];
        int16_t *out = i == last - 1 ? hidden : space[i & 1];
        NAME(hidden_layer)(layer, i == 0 && biases ? biases : layer->biases, inputs, out);
        inputs = out;
    }
    const Layer *layer = &network->layer[last];
    NAME(last_layer)(layer, last == 0 && biases ? biases : layer->biases, inputs, sums);
}

#undef FOUR_SUMS
