/* Vectors of one set of instructions: define LEVEL (one of PLAIN, SSE2, AVX2, AVX512) as 0, 1, 2 or 3, then include this, then the
 * code that uses them. It may be included again with another LEVEL.
 *
 * NAME(x)      x with the name of the set
 * TARGET       attribute of functions that use the set
 * LANES        whole numbers of 32 bits, or floats, of a vector
 * INTS, FLOATS vectors; LOAD and STORE, LOAD_F and STORE_F move them
 * TO_INTS      the nearest whole numbers, ties to even (PLAIN: of values below 2**22)
 * ADD_PRODUCTS sums plus the products of pairs of 16 bits, added up
 * JOIN         two whole numbers of 16 bits in the place of one of 32
 */
#undef NAME
#undef TARGET
#undef LANES
#undef INTS
#undef FLOATS
#undef LOAD
#undef STORE
#undef SPREAD
#undef OR
#undef ANY
#undef ADD_PRODUCTS
#undef JOIN
#undef LOAD_F
#undef STORE_F
#undef SPREAD_F
#undef ADD_F
#undef MUL_F
#undef DIV_F
#undef MIN_F
#undef MAX_F
#undef ABS_F
#undef TO_INTS
#undef TO_FLOATS

#if LEVEL == 0
#define NAME(x) x##_plain
#define TARGET
#define LANES 1
#define INTS int32_t
#define FLOATS float
#define LOAD(p) (*(const int32_t *)(p))
#define STORE(p, v) (*(int32_t *)(p) = (v))
#define JOIN(low, high) (int32_t)(((uint32_t)(low) & 0xFFFF) | (uint32_t)(high) << 16)
#define LOAD_F(p) (*(p))
#define STORE_F(p, v) (*(p) = (v))
#define SPREAD_F(v) (v)
#define ADD_F(a, b) ((a) + (b))
#define MUL_F(a, b) ((a) * (b))
#define DIV_F(a, b) ((a) / (b))
#define MIN_F(a, b) ((a) < (b) ? (a) : (b))
#define MAX_F(a, b) ((a) > (b) ? (a) : (b))
#define ABS_F(a) ((a) < 0 ? -(a) : (a))
#define TO_INTS(a) nearest(a)
#define TO_FLOATS(a) ((float)(a))
#elif LEVEL == 1
#define NAME(x) x##_sse2
#define TARGET
#define LANES 4
#define INTS __m128i
#define FLOATS __m128
#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define SPREAD(v) _mm_set1_epi32(v)
#define OR(a, b) _mm_or_si128(a, b)
#define ANY(v) (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) != 0xFFFF)
#define ADD_PRODUCTS(sum, x, w) _mm_add_epi32(sum, _mm_madd_epi16(x, w))
#define JOIN(low, high) _mm_or_si128(_mm_and_si128(low, _mm_set1_epi32(0xFFFF)), _mm_slli_epi32(high, 16))
#define LOAD_F(p) _mm_loadu_ps(p)
#define STORE_F(p, v) _mm_storeu_ps(p, v)
#define SPREAD_F(v) _mm_set1_ps(v)
#define ADD_F(a, b) _mm_add_ps(a, b)
#define MUL_F(a, b) _mm_mul_ps(a, b)
#define DIV_F(a, b) _mm_div_ps(a, b)
#define MIN_F(a, b) _mm_min_ps(a, b)
#define MAX_F(a, b) _mm_max_ps(a, b)
#define ABS_F(a) _mm_and_ps(a, _mm_castsi128_ps(_mm_set1_epi32(0x7FFFFFFF)))
#define TO_INTS(a) _mm_cvtps_epi32(a)
#define TO_FLOATS(a) _mm_cvtepi32_ps(a)
#elif LEVEL == 2
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#define LANES 8
#define INTS __m256i
#define FLOATS __m256
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#define SPREAD(v) _mm256_set1_epi32(v)
#define OR(a, b) _mm256_or_si256(a, b)
#define ANY(v) (!_mm256_testz_si256(v, v))
#define ADD_PRODUCTS(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#define JOIN(low, high) _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(0xFFFF)), _mm256_slli_epi32(high, 16))
#define LOAD_F(p) _mm256_loadu_ps(p)
#define STORE_F(p, v) _mm256_storeu_ps(p, v)
#define SPREAD_F(v) _mm256_set1_ps(v)
#define ADD_F(a, b) _mm256_add_ps(a, b)
#define MUL_F(a, b) _mm256_mul_ps(a, b)
#define DIV_F(a, b) _mm256_div_ps(a, b)
#define MIN_F(a, b) _mm256_min_ps(a, b)
#define MAX_F(a, b) _mm256_max_ps(a, b)
#define ABS_F(a) _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)))
#define TO_INTS(a) _mm256_cvtps_epi32(a)
#define TO_FLOATS(a) _mm256_cvtepi32_ps(a)
#elif LEVEL == 3
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define LANES 16
#define INTS __m512i
#define FLOATS __m512
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define SPREAD(v) _mm512_set1_epi32(v)
#define OR(a, b) _mm512_or_si512(a, b)
#define ANY(v) (_mm512_test_epi32_mask(v, v) != 0)
#define ADD_PRODUCTS(sum, x, w) _mm512_dpwssd_epi32(sum, x, w)
#define JOIN(low, high) _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(0xFFFF)), _mm512_slli_epi32(high, 16))
#define LOAD_F(p) _mm512_loadu_ps(p)
#define STORE_F(p, v) _mm512_storeu_ps(p, v)
#define SPREAD_F(v) _mm512_set1_ps(v)
#define ADD_F(a, b) _mm512_add_ps(a, b)
#define MUL_F(a, b) _mm512_mul_ps(a, b)
#define DIV_F(a, b) _mm512_div_ps(a, b)
#define MIN_F(a, b) _mm512_min_ps(a, b)
#define MAX_F(a, b) _mm512_max_ps(a, b)
#define ABS_F(a) _mm512_abs_ps(a)
#define TO_INTS(a) _mm512_cvtps_epi32(a)
#define TO_FLOATS(a) _mm512_cvtepi32_ps(a)
#endif
