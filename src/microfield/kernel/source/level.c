/* Which instructions are used, and of which sources the library was made. */
#include "kernel.h"

static int best_level(void) {
#if HAS_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("avx512vnni"))
        return AVX512;
    return __builtin_cpu_supports("avx2") ? AVX2 : SSE2;
#else
    return PLAIN;
#endif
}

static int level = -1;

int mf_level(void) {
    if (level < 0)
        level = best_level();
    return level;
}

/* Use no instructions beyond those of a level, for tests; what is used from now on. Not to be called while others compute. */
EXPORT int mf_use(int most) {
    const int best = best_level();
    level = most < best ? most : best;
    return level;
}

/* The first 32 digits of the SHA-256 of all sources, see `microfield.kernel.building`. */
EXPORT const char *mf_sources(void) {
    return MICROFIELD_SOURCES;
}
