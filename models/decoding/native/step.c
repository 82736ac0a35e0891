/* Reads a character for every row, chooses the next, and so on: a stacked LSTM with int8 weights.

   Compiled for one kind of processor at a time, by its compiler's flags. All kinds compute the same
   bits: products are sums of whole numbers, whose order does not matter; everything else works on
   lanes of 16 numbers that know nothing of each other, by IEEE operations in one order, each of
   which is rounded once. So a compiler must neither contract nor reassociate: no -ffast-math.

   Weights lie in blocks of 16 cells, which have 64 columns: 16 of gate i, 16 of f, g and o. A block
   has for each four inputs (a quad) the four bytes of each column, as vpdpbusd and the tiles of AMX
   take them. Activations are bytes, too: h * 127 + 128.

   Knows rows of numbers; whoever calls has checked all sizes and ids. */

#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16,
    GATES = 4,
    COLUMNS = GATES * LANES,
    QUAD = COLUMNS * 4, /* bytes of a quad of a block */
    IDS = 8 * LANES,    /* ids whose logits are computed together */
    CHUNK = 32,         /* rows whose products are computed before they are used */
    FOLLOWERS = 6,
    CHOICES = 2,
    WINDOW = 2,
    NOT_FINITE = -1,
};

/* ---- Lanes: 16 numbers at once, for each kind of processor ---- */

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512VNNI__)

#include <immintrin.h>
enum { ROWS_AT_ONCE = 6, GATES_AT_ONCE = 4, LANES_OF_IDS = 8, OUTPUT_ROWS = 3 };
typedef __m512 Floats;
typedef __m512i Ints;
INLINE Floats load(const float *from) { return _mm512_loadu_ps(from); }
INLINE void store(float *to, Floats x) { _mm512_storeu_ps(to, x); }
INLINE Floats all(float x) { return _mm512_set1_ps(x); }
INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
INLINE Floats subtract(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
INLINE Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
INLINE Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
INLINE Floats fused(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
INLINE Floats larger(Floats a, Floats b) { return _mm512_max_ps(a, b); }
INLINE Floats smaller(Floats a, Floats b) { return _mm512_min_ps(a, b); }
INLINE Floats where_above(Floats x, Floats limit, Floats value) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GT_OQ), value);
}
INLINE int any_nan(Floats x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }
INLINE Floats power_of_two(Floats shifted) {
    __m512i bits = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(0x3f800000)));
}
INLINE Floats of_ints(const int32_t *a, const int32_t *b) {
    return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
}
INLINE Floats of_bytes(const uint8_t *from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)));
}
INLINE void store_bytes(uint8_t *to, Floats x) {
    __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(128));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(whole));
}
INLINE Ints nothing(void) { return _mm512_setzero_si512(); }
INLINE Ints dot(Ints sum, int32_t quad, const int8_t *weights) {
    return _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(quad), _mm512_loadu_si512(weights));
}
INLINE Ints plus(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
INLINE void store_ints(int32_t *to, Ints x) { _mm512_storeu_si512(to, x); }

#elif defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>
enum { ROWS_AT_ONCE = 4, GATES_AT_ONCE = 1, LANES_OF_IDS = 4, OUTPUT_ROWS = 1 };
typedef struct { __m256 a, b; } Floats;
typedef struct { __m256i a, b; } Ints;
#define BOTH(call_a, call_b) ((Floats){call_a, call_b})
INLINE Floats load(const float *from) {
    return BOTH(_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8));
}
INLINE void store(float *to, Floats x) {
    _mm256_storeu_ps(to, x.a);
    _mm256_storeu_ps(to + 8, x.b);
}
INLINE Floats all(float x) { return BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE Floats add(Floats x, Floats y) {
    return BOTH(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b));
}
INLINE Floats subtract(Floats x, Floats y) {
    return BOTH(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b));
}
INLINE Floats multiply(Floats x, Floats y) {
    return BOTH(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b));
}
INLINE Floats divide(Floats x, Floats y) {
    return BOTH(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b));
}
INLINE Floats fused(Floats x, Floats y, Floats z) {
    return BOTH(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
INLINE Floats larger(Floats x, Floats y) {
    return BOTH(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b));
}
INLINE Floats smaller(Floats x, Floats y) {
    return BOTH(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b));
}
INLINE Floats where_above(Floats x, Floats limit, Floats value) {
    return BOTH(_mm256_and_ps(_mm256_cmp_ps(x.a, limit.a, _CMP_GT_OQ), value.a),
                _mm256_and_ps(_mm256_cmp_ps(x.b, limit.b, _CMP_GT_OQ), value.b));
}
INLINE int any_nan(Floats x) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x.a, x.b, _CMP_UNORD_Q)) != 0;
}
INLINE __m256 power_of_two_8(__m256 shifted) {
    __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000)));
}
INLINE Floats power_of_two(Floats x) { return BOTH(power_of_two_8(x.a), power_of_two_8(x.b)); }
INLINE __m256 of_ints_8(const int32_t *a, const int32_t *b) {
    return _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_loadu_si256((const __m256i *)a),
                                               _mm256_loadu_si256((const __m256i *)b)));
}
INLINE Floats of_ints(const int32_t *a, const int32_t *b) {
    return BOTH(of_ints_8(a, b), of_ints_8(a + 8, b + 8));
}
INLINE __m256 of_bytes_8(const uint8_t *from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}
INLINE Floats of_bytes(const uint8_t *from) { return BOTH(of_bytes_8(from), of_bytes_8(from + 8)); }
INLINE void store_bytes(uint8_t *to, Floats x) {
    __m256i half = _mm256_set1_epi32(128);
    __m256i a = _mm256_add_epi32(_mm256_cvtps_epi32(x.a), half);
    __m256i b = _mm256_add_epi32(_mm256_cvtps_epi32(x.b), half);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words),
                                     _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)to, bytes);
}
INLINE Ints nothing(void) {
    return (Ints){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
/* By 16-bit products, as those of vpmaddubsw would overflow. */
INLINE __m256i dot_8(__m256i sum, int32_t quad, const int8_t *weights) {
    __m256i w = _mm256_loadu_si256((const __m256i *)weights);
    __m256i q = _mm256_set1_epi32(quad);
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), odd = _mm256_srai_epi16(w, 8);
    __m256i even_q = _mm256_and_si256(q, _mm256_set1_epi16(255)), odd_q = _mm256_srli_epi16(q, 8);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, even_q));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(odd, odd_q));
}
INLINE Ints dot(Ints sum, int32_t quad, const int8_t *weights) {
    return (Ints){dot_8(sum.a, quad, weights), dot_8(sum.b, quad, weights + 32)};
}
INLINE Ints plus(Ints x, Ints y) {
    return (Ints){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
INLINE void store_ints(int32_t *to, Ints x) {
    _mm256_storeu_si256((__m256i *)to, x.a);
    _mm256_storeu_si256((__m256i *)(to + 8), x.b);
}

#else

enum { ROWS_AT_ONCE = 2, GATES_AT_ONCE = 1, LANES_OF_IDS = 2, OUTPUT_ROWS = 1 };
typedef struct { float lane[LANES]; } Floats;
typedef struct { int32_t lane[LANES]; } Ints;
#define EACH(type, expression)                                                                     \
    type result;                                                                                   \
    for (int n = 0; n < LANES; n++) result.lane[n] = (expression);                                 \
    return result
INLINE Floats load(const float *from) { EACH(Floats, from[n]); }
INLINE void store(float *to, Floats x) { memcpy(to, x.lane, sizeof x.lane); }
INLINE Floats all(float x) { EACH(Floats, x); }
INLINE Floats add(Floats a, Floats b) { EACH(Floats, a.lane[n] + b.lane[n]); }
INLINE Floats subtract(Floats a, Floats b) { EACH(Floats, a.lane[n] - b.lane[n]); }
INLINE Floats multiply(Floats a, Floats b) { EACH(Floats, a.lane[n] * b.lane[n]); }
INLINE Floats divide(Floats a, Floats b) { EACH(Floats, a.lane[n] / b.lane[n]); }
INLINE Floats fused(Floats a, Floats b, Floats c) {
    EACH(Floats, __builtin_fmaf(a.lane[n], b.lane[n], c.lane[n]));
}
/* As vmaxps and vminps: the second where one is not a number. */
INLINE Floats larger(Floats a, Floats b) {
    EACH(Floats, a.lane[n] > b.lane[n] ? a.lane[n] : b.lane[n]);
}
INLINE Floats smaller(Floats a, Floats b) {
    EACH(Floats, a.lane[n] < b.lane[n] ? a.lane[n] : b.lane[n]);
}
INLINE Floats where_above(Floats x, Floats limit, Floats value) {
    EACH(Floats, x.lane[n] > limit.lane[n] ? value.lane[n] : 0.0f);
}
INLINE int any_nan(Floats x) {
    int found = 0;
    for (int n = 0; n < LANES; n++) found |= x.lane[n] != x.lane[n];
    return found;
}
INLINE Floats power_of_two(Floats shifted) {
    uint32_t bits[LANES];
    memcpy(bits, shifted.lane, sizeof bits);
    for (int n = 0; n < LANES; n++) bits[n] = (bits[n] << 23) + 0x3f800000u;
    memcpy(shifted.lane, bits, sizeof bits);
    return shifted;
}
INLINE Floats of_ints(const int32_t *a, const int32_t *b) { EACH(Floats, (float)(a[n] + b[n])); }
INLINE Floats of_bytes(const uint8_t *from) { EACH(Floats, (float)from[n]); }
INLINE void store_bytes(uint8_t *to, Floats x) {
    for (int n = 0; n < LANES; n++) to[n] = (uint8_t)(128 + (int)nearbyintf(x.lane[n]));
}
INLINE Ints nothing(void) { EACH(Ints, 0); }
INLINE Ints dot(Ints sum, int32_t quad, const int8_t *weights) {
    const uint32_t q = (uint32_t)quad;
    EACH(Ints, sum.lane[n] + (int32_t)(q & 255) * weights[4 * n] +
                   (int32_t)(q >> 8 & 255) * weights[4 * n + 1] +
                   (int32_t)(q >> 16 & 255) * weights[4 * n + 2] +
                   (int32_t)(q >> 24) * weights[4 * n + 3]);
}
INLINE Ints plus(Ints a, Ints b) { EACH(Ints, a.lane[n] + b.lane[n]); }
INLINE void store_ints(int32_t *to, Ints x) { memcpy(to, x.lane, sizeof x.lane); }

#endif

/* ---- What is given ---- */

struct layer {
    const int8_t *x, *h;         /* weights, [blocks][quads][64][4]; x of the layer below */
    const int32_t *x_zero, *h_zero; /* -128 times the sum of each column, [blocks][64] */
    const float *x_scale, *h_scale; /* of each column, over 127 */
    const float *bias;              /* [blocks][64]; x and bias are not of the first layer */
};

struct network {
    int32_t layers, hidden, vocabulary, styles;
    int32_t outputs;           /* columns of the output: the ids, and beside a table two gates */
    int32_t lengths, row_lengths; /* of contexts: all, and those with rows */
    int32_t orders;            /* ids in the longest context; 0 without a table */
    int32_t rows;              /* buckets with rows */
    int32_t wide_followers;    /* whether followers have 16 bits instead of 8 */
    const float *first;        /* what an id adds to the first layer, [ids][blocks][64] */
    const float *style;        /* what a style adds, [styles][blocks][64] */
    const struct layer *layer; /* [layers] */
    const float *output;       /* [groups of IDS outputs][hidden][IDS] */
    const float *output_bias;  /* [groups][IDS] */
    const int32_t *length;     /* ids in the contexts, ascending, [lengths] */
    const int32_t *size;       /* buckets for them, [lengths] */
    const int32_t *number;     /* of each id, then of no id */
    const int32_t *factor;     /* by age, newest first, [orders] */
    const int32_t *multiplier; /* [CHOICES] */
    const int32_t *key;        /* in each bucket, after one for no context */
    const uint8_t *row;        /* [1 + rows][vocabulary] */
    const void *follower;      /* [1 + lists][FOLLOWERS] */
    const uint8_t *boost;
};

struct call {
    int32_t steps, rows, changing; /* changing: a temperature for each step */
    int32_t tiles;                 /* whether AMX may be used */
    const int64_t *id, *forced;    /* [rows]; [steps][rows], below 0 to choose */
    const float *uniform;          /* [steps][rows] */
    const float *temperature;      /* [rows] or [steps][rows]; 0 takes the likeliest id */
    const int64_t *top_k;          /* [rows]; 0 is off */
    const float *top_p;
    const float *style;            /* [rows][styles] */
    const float *h, *c;            /* [layers][rows][hidden] */
    const float *history;          /* ids before the last one, [rows][orders] */
    float *h_end, *c_end;
    int64_t *id_end;               /* [rows] */
    int64_t *chosen;               /* [steps][rows] */
    float *logits;                 /* [steps][rows][vocabulary] */
};

/* ---- Numbers ---- */

/* e to the power of x, which must be from -87 to 87; of 0 it is 1. The polynomial is 2 to the power
   of r, from -0.5 to 0.5, within 1e-7. What is not a number stays so. */
INLINE Floats exponential(Floats x) {
    const Floats octaves = all(1.44269504f), magic = all(12582912.0f);
    Floats shifted = fused(x, octaves, magic);
    Floats r = fused(x, octaves, subtract(magic, shifted));
    Floats p = all(0.00132647273f);
    p = fused(p, r, all(0.00967151299f));
    p = fused(p, r, all(0.0555073358f));
    p = fused(p, r, all(0.240222424f));
    p = fused(p, r, all(0.693147004f));
    p = fused(p, r, all(1.0f));
    return multiply(p, power_of_two(shifted));
}

/* e to the power of -x, which 1 + it and products of three of these can hold. */
INLINE Floats decay(Floats x) {
    const Floats least = all(-25.0f), most = all(25.0f);
    return exponential(subtract(all(0.0f), smaller(most, larger(least, x))));
}

/* The new c, stored, and h of 16 cells from the sums at their gates. Sigmoids and tanh are quotients
   of exponentials, so one division does for c and one for h. */
INLINE Floats cells(Floats i, Floats f, Floats g, Floats o, float *c) {
    const Floats one = all(1.0f);
    Floats decay_g = decay(add(g, g));
    Floats forget = add(one, decay(f));
    Floats both = multiply(add(one, decay(i)), add(one, decay_g));
    Floats above = fused(load(c), both, multiply(subtract(one, decay_g), forget));
    Floats cell = divide(above, multiply(both, forget));
    store(c, cell);
    Floats decay_c = decay(add(cell, cell));
    Floats below = multiply(add(one, decay(o)), add(one, decay_c));
    return divide(subtract(one, decay_c), below);
}

INLINE void quantise(uint8_t *to, Floats h) {
    Floats scaled = multiply(h, all(127.0f));
    /* In this order what is not a number becomes the limit. */
    store_bytes(to, smaller(larger(scaled, all(-127.0f)), all(127.0f)));
}

/* ---- Products ---- */

/* sums[row][column]: of one block's weights and the activations of up to CHUNK rows. */
INLINE void tile(int rows, const uint8_t *q, size_t stride, const int8_t *w, int quads,
                 int32_t *sums) {
    for (int first = 0; first < GATES; first += GATES_AT_ONCE) {
        Ints sum[ROWS_AT_ONCE][GATES_AT_ONCE];
#pragma GCC unroll 8
        for (int row = 0; row < rows; row++)
#pragma GCC unroll 4
            for (int gate = 0; gate < GATES_AT_ONCE; gate++) sum[row][gate] = nothing();
        for (int k = 0; k < quads; k++)
#pragma GCC unroll 8
            for (int row = 0; row < rows; row++) {
                int32_t quad;
                memcpy(&quad, q + row * stride + 4 * k, 4);
#pragma GCC unroll 4
                for (int gate = 0; gate < GATES_AT_ONCE; gate++)
                    sum[row][gate] = dot(sum[row][gate], quad,
                                         w + (size_t)k * QUAD + (first + gate) * 4 * LANES);
            }
#pragma GCC unroll 8
        for (int row = 0; row < rows; row++)
#pragma GCC unroll 4
            for (int gate = 0; gate < GATES_AT_ONCE; gate++)
                store_ints(sums + row * COLUMNS + (first + gate) * LANES, sum[row][gate]);
    }
}

/* Of one row: four quads at a time, as each sum waits for the one before. */
INLINE void tile_of_one(const uint8_t *q, const int8_t *w, int quads, int32_t *sums) {
    for (int first = 0; first < GATES; first += GATES_AT_ONCE) {
        Ints sum[4][GATES_AT_ONCE];
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++)
#pragma GCC unroll 4
            for (int gate = 0; gate < GATES_AT_ONCE; gate++) sum[part][gate] = nothing();
        for (int k = 0; k < quads; k += 4)
#pragma GCC unroll 4
            for (int part = 0; part < 4; part++) {
                int32_t quad;
                memcpy(&quad, q + 4 * (k + part), 4);
#pragma GCC unroll 4
                for (int gate = 0; gate < GATES_AT_ONCE; gate++)
                    sum[part][gate] = dot(sum[part][gate], quad,
                                          w + (size_t)(k + part) * QUAD + (first + gate) * 4 * LANES);
            }
#pragma GCC unroll 4
        for (int gate = 0; gate < GATES_AT_ONCE; gate++)
            store_ints(sums + (first + gate) * LANES, plus(plus(sum[0][gate], sum[1][gate]),
                                                           plus(sum[2][gate], sum[3][gate])));
    }
}

#if defined(__AMX_INT8__)

#include <sys/syscall.h>
#include <unistd.h>

enum { LEAST_TILED = 6 }; /* rows from which tiles are faster */

int charloom_tiles(void) {
    /* ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA, for this process. */
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

static void begin_tiles(void) {
    struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } shape;
    memset(&shape, 0, sizeof shape);
    shape.palette = 1;
    for (int n = 0; n < 8; n++) shape.bytes[n] = 64, shape.rows[n] = 16;
    _tile_loadconfig(&shape);
}

static void end_tiles(void) { _tile_release(); }

/* As tile, of 16 or 32 rows. */
static void tile_of_many(int rows, const uint8_t *q, size_t stride, const int8_t *w, int quads,
                         int32_t *sums) {
    const size_t each = 4 * LANES, across = COLUMNS * sizeof *sums;
    if (rows <= 16) {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        for (int k = 0; k < quads; k += 16, w += 16 * QUAD) {
            _tile_loadd(4, q + 4 * k, stride);
            _tile_loadd(5, w, QUAD);
            _tile_dpbusd(0, 4, 5);
            _tile_loadd(6, w + each, QUAD);
            _tile_dpbusd(1, 4, 6);
            _tile_loadd(7, w + 2 * each, QUAD);
            _tile_dpbusd(2, 4, 7);
            _tile_loadd(5, w + 3 * each, QUAD);
            _tile_dpbusd(3, 4, 5);
        }
        _tile_stored(0, sums, across);
        _tile_stored(1, sums + LANES, across);
        _tile_stored(2, sums + 2 * LANES, across);
        _tile_stored(3, sums + 3 * LANES, across);
        return;
    }
    for (int half = 0; half < 2; half++, w += 2 * each, sums += 2 * LANES) {
        const int8_t *at = w;
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
        for (int k = 0; k < quads; k += 16, at += 16 * QUAD) {
            _tile_loadd(4, q + 4 * k, stride);
            _tile_loadd(5, q + 16 * stride + 4 * k, stride);
            _tile_loadd(6, at, QUAD);
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 5, 6);
            _tile_loadd(7, at + each, QUAD);
            _tile_dpbusd(2, 4, 7);
            _tile_dpbusd(3, 5, 7);
        }
        _tile_stored(0, sums, across);
        _tile_stored(1, sums + 16 * COLUMNS, across);
        _tile_stored(2, sums + LANES, across);
        _tile_stored(3, sums + 16 * COLUMNS + LANES, across);
    }
}

#else

enum { LEAST_TILED = 1 << 30 };
int charloom_tiles(void) { return 0; }
static void begin_tiles(void) {}
static void end_tiles(void) {}
static void tile_of_many(int rows, const uint8_t *q, size_t stride, const int8_t *w, int quads,
                         int32_t *sums) {
    (void)rows, (void)q, (void)stride, (void)w, (void)quads, (void)sums;
}

#endif

/* Sums of a chunk's rows; with tiles, of rows up to a multiple of 16, for which there is room. */
static void products(int rows, int tiled, const uint8_t *q, size_t stride, const int8_t *w,
                     int32_t *sums) {
    const int quads = (int)(stride / 4);
    if (tiled) {
        tile_of_many(rows, q, stride, w, quads, sums);
        return;
    }
    if (rows == 1) {
        tile_of_one(q, w, quads, sums);
        return;
    }
    for (; rows >= ROWS_AT_ONCE;
         rows -= ROWS_AT_ONCE, q += ROWS_AT_ONCE * stride, sums += ROWS_AT_ONCE * COLUMNS)
        tile(ROWS_AT_ONCE, q, stride, w, quads, sums);
    switch (rows) {
    case 1: tile_of_one(q, w, quads, sums); break;
    case 2: if (ROWS_AT_ONCE > 2) tile(2, q, stride, w, quads, sums); break;
    case 3: if (ROWS_AT_ONCE > 3) tile(3, q, stride, w, quads, sums); break;
    case 4: if (ROWS_AT_ONCE > 4) tile(4, q, stride, w, quads, sums); break;
    case 5: if (ROWS_AT_ONCE > 5) tile(5, q, stride, w, quads, sums); break;
    }
}

/* ---- A step ---- */

/* What a call needs besides its arguments. Cells are filled up to 16 and activations to 64; rows of
   activations to CHUNK. */
struct scratch {
    const struct network *network;
    const struct call *call;
    int blocks;
    size_t cells, stride, all_rows;
    float *h, *c;      /* [layers][rows][cells] */
    uint8_t *q;        /* [layers][2][all_rows][stride]: before and after a step, by turns */
    float *styled;     /* what styles add, [rows][blocks][64] */
    float *outputs;    /* [rows][groups][IDS] */
    float *weights;    /* of the ids of one row, [groups][IDS] */
    int64_t *id;       /* read next, [rows] */
    int32_t *history;  /* [rows][orders] */
    uint8_t *broken;   /* whether a cell of the row is not a number, [rows] */
};

static uint8_t *activations(const struct scratch *s, int layer, int turn) {
    return s->q + (2 * (size_t)layer + (size_t)turn) * s->all_rows * s->stride;
}

static void first_cells(const struct scratch *s, int row, int block, const int32_t *sums, Floats *gates) {
    const struct network *n = s->network;
    const size_t at = (size_t)block * COLUMNS, across = (size_t)s->blocks * COLUMNS;
    const float *read = n->first + (size_t)s->id[row] * across + at;
    for (int gate = 0; gate < GATES; gate++) {
        const size_t column = at + (size_t)gate * LANES;
        Floats own = load(read + gate * LANES);
        if (n->styles) own = add(own, load(s->styled + (size_t)row * across + column));
        Floats sum = of_ints(sums + gate * LANES, n->layer->h_zero + column);
        gates[gate] = fused(sum, load(n->layer->h_scale + column), own);
    }
}

static void later_cells(const struct layer *layer, int block, const int32_t *sums,
                        const int32_t *sums_x, Floats *gates) {
    for (int gate = 0; gate < GATES; gate++) {
        const size_t column = (size_t)block * COLUMNS + (size_t)gate * LANES;
        Floats of_x = of_ints(sums_x + gate * LANES, layer->x_zero + column);
        Floats own = fused(of_x, load(layer->x_scale + column), load(layer->bias + column));
        Floats sum = of_ints(sums + gate * LANES, layer->h_zero + column);
        gates[gate] = fused(sum, load(layer->h_scale + column), own);
    }
}

static void advance_layer(const struct scratch *s, int number, int turn) {
    const struct layer *layer = s->network->layer + number;
    const uint8_t *before = activations(s, number, turn);
    const uint8_t *below = number ? activations(s, number - 1, !turn) : NULL;
    uint8_t *after = activations(s, number, !turn);
    const size_t of_block = s->stride / 4 * QUAD;
    const int count = s->call->rows;
    _Alignas(64) int32_t sums[CHUNK * COLUMNS], sums_x[CHUNK * COLUMNS];
    for (int block = 0; block < s->blocks; block++) {
        for (int first = 0; first < count; first += CHUNK) {
            const int rows = count - first < CHUNK ? count - first : CHUNK;
            const int tiled = s->call->tiles && rows >= LEAST_TILED;
            const size_t at = (size_t)first * s->stride;
            products(rows, tiled, before + at, s->stride, layer->h + block * of_block, sums);
            if (number)
                products(rows, tiled, below + at, s->stride, layer->x + block * of_block, sums_x);
            for (int row = 0; row < rows; row++) {
                const size_t cell = ((size_t)number * (size_t)count + (size_t)(first + row)) * s->cells +
                                    (size_t)block * LANES;
                Floats gates[GATES];
                if (number)
                    later_cells(layer, block, sums + row * COLUMNS, sums_x + row * COLUMNS, gates);
                else
                    first_cells(s, first + row, block, sums + row * COLUMNS, gates);
                Floats h = cells(gates[0], gates[1], gates[2], gates[3], s->c + cell);
                store(s->h + cell, h);
                quantise(after + at + (size_t)row * s->stride + (size_t)block * LANES, h);
                s->broken[first + row] |= (uint8_t)any_nan(h);
            }
        }
    }
}

static int groups_of(const struct network *n) { return (n->outputs + IDS - 1) / IDS; }

/* Some columns of the output, from one on, for some rows: each the sum over cells in their order.
   to is [rows][across]. */
INLINE void output_of(int rows, const struct network *n, const float *h, size_t cells, size_t from,
                      float *to, size_t across) {
    const float *w = n->output + from / IDS * IDS * (size_t)n->hidden + from % IDS;
    Floats sum[OUTPUT_ROWS][LANES_OF_IDS];
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 8
        for (int lanes = 0; lanes < LANES_OF_IDS; lanes++)
            sum[row][lanes] = load(n->output_bias + from + lanes * LANES);
    for (int k = 0; k < n->hidden; k++, w += IDS)
#pragma GCC unroll 8
        for (int lanes = 0; lanes < LANES_OF_IDS; lanes++) {
            Floats of_cell = load(w + lanes * LANES);
#pragma GCC unroll 4
            for (int row = 0; row < rows; row++)
                sum[row][lanes] =
                    fused(all(h[(size_t)row * cells + (size_t)k]), of_cell, sum[row][lanes]);
        }
#pragma GCC unroll 4
    for (int row = 0; row < rows; row++)
#pragma GCC unroll 8
        for (int lanes = 0; lanes < LANES_OF_IDS; lanes++)
            store(to + (size_t)row * across + from + lanes * LANES, sum[row][lanes]);
}

static void advance_output(const struct scratch *s) {
    const struct network *n = s->network;
    const size_t count = (size_t)s->call->rows, across = (size_t)groups_of(n) * IDS;
    const float *h = s->h + ((size_t)n->layers - 1) * count * s->cells;
    /* All rows by the same weights first, which are many if there are many ids. */
    for (size_t from = 0; from < (size_t)n->outputs; from += LANES_OF_IDS * LANES) {
        size_t row = 0;
        for (; row + OUTPUT_ROWS <= count; row += OUTPUT_ROWS)
            output_of(OUTPUT_ROWS, n, h + row * s->cells, s->cells, from, s->outputs + row * across, across);
        for (; row < count; row++)
            output_of(1, n, h + row * s->cells, s->cells, from, s->outputs + row * across, across);
    }
}

/* The bucket of a context of one length, 0 if it has none. */
static int32_t bucket_of(const struct network *n, int32_t key, int32_t size, int32_t begin) {
    const int32_t modulus = size > WINDOW - 1 ? size - (WINDOW - 1) : 1;
    int32_t found = 0;
    for (int choice = 0; choice < CHOICES; choice++) {
        int32_t place = (int32_t)((uint32_t)key * (uint32_t)n->multiplier[choice]) % modulus;
        if (place < 0) place += modulus;
        for (int next = 0; next < WINDOW && next < size; next++) {
            const int32_t bucket = begin + place + next;
            if (n->key[bucket] == key && bucket > found) found = bucket;
        }
    }
    return found;
}

/* Mixes what the n-gram table counted into a row's logits, as models.ngram_table says. */
static void mix(const struct scratch *s, int row, float *logits) {
    const struct network *n = s->network;
    const int32_t *before = s->history + (size_t)row * (size_t)n->orders;
    uint32_t hash = 0;
    int32_t begin = 1, found[2] = {0, 0};
    for (int number = 0, age = 0; number < n->lengths; number++) {
        for (; age < n->length[number]; age++) {
            const int32_t id = age ? before[n->orders - age] : (int32_t)s->id[row];
            hash += (uint32_t)n->number[id < 0 ? n->vocabulary : id] * (uint32_t)n->factor[age];
        }
        const int32_t bucket = bucket_of(n, (int32_t)hash, n->size[number], begin);
        if (bucket) found[number >= n->row_lengths] = bucket;
        begin += n->size[number];
    }
    const float own = logits[n->vocabulary], counted = logits[n->vocabulary + 1];
    const uint8_t *of_row = n->row + (size_t)found[0] * (size_t)n->vocabulary;
    float *known = s->weights;
    for (int id = 0; id < n->vocabulary; id++) known[id] = (float)of_row[id];
    if (found[1])
        for (int at = 0; at < FOLLOWERS; at++) {
            const size_t place = (size_t)(found[1] - n->rows) * FOLLOWERS + (size_t)at;
            const int id = n->wide_followers ? ((const uint16_t *)n->follower)[place]
                                             : ((const uint8_t *)n->follower)[place];
            known[id] -= (float)n->boost[place];
        }
    for (int id = 0; id < n->vocabulary; id += LANES)
        store(logits + id, fused(all(own), load(logits + id), multiply(all(counted), load(known + id))));
}

/* Moves a number down a heap whose largest is first. */
static void sift(float *heap, int count, int at) {
    const float moved = heap[at];
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] > heap[child]) child++;
        if (heap[child] <= moved) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

/* Moves the largest of a heap to its end, which is no part of it any more. */
static void pop(float *heap, int count) {
    const float largest = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = largest;
    sift(heap, count - 1, 0);
}

/* Zeroes all but the likeliest ids' weights, as models.decoding.sampling.keep_likeliest does. */
static void keep_likeliest(float *weights, int count, int64_t top_k, float top_p, float *heap) {
    const int most = top_k > 0 && top_k < count ? (int)top_k : count;
    float mass = 0, sum = 0, least = 0;
    memcpy(heap, weights, (size_t)count * sizeof *heap);
    for (int at = count / 2; at-- > 0;) sift(heap, count, at);
    int left = count;
    if (most == count)
        for (int id = 0; id < count; id++) mass += weights[id];
    else
        for (; left > count - most; left--) {
            pop(heap, left);
            mass += heap[left - 1];
        }
    for (int rank = 0; rank < most && (!rank || top_p == 0 || sum < top_p * mass); rank++) {
        if (left == count - rank) pop(heap, left--);
        sum += least = heap[count - 1 - rank];
    }
    for (int id = 0; id < count; id++)
        if (weights[id] < least) weights[id] = 0;
}

/* The id that a row takes, as models.decoding.sampling.choose says; its logits are finite. */
static int64_t choose(const struct scratch *s, int row, int step, const float *logits, float top) {
    const struct call *call = s->call;
    const int count = s->network->vocabulary;
    const size_t place = (size_t)step * (size_t)call->rows + (size_t)row;
    const float temperature = call->temperature[call->changing ? place : (size_t)row];
    if (temperature == 0) {
        int id = 0;
        while (logits[id] < top) id++;
        return id;
    }
    float *weights = s->weights;
    for (int id = 0; id < count; id += LANES) {
        Floats x = divide(subtract(load(logits + id), all(top)), all(temperature));
        store(weights + id, where_above(x, all(-87.0f), exponential(larger(x, all(-87.0f)))));
    }
    if (call->top_k[row] > 0 || call->top_p[row] > 0)
        keep_likeliest(weights, count, call->top_k[row], call->top_p[row],
                       weights + (size_t)groups_of(s->network) * IDS);
    float total = 0;
    for (int id = 0; id < count; id++) weights[id] = total += weights[id];
    const float limit = call->uniform[place] * total;
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (weights[middle] > limit) high = middle;
        else low = middle + 1;
    }
    return low;
}

static void take(const struct scratch *s, int row, int step) {
    const struct network *n = s->network;
    const size_t place = (size_t)step * (size_t)s->call->rows + (size_t)row;
    float *logits = s->outputs + (size_t)row * (size_t)groups_of(n) * IDS;
    if (n->orders) {
        mix(s, row, logits);
        int32_t *before = s->history + (size_t)row * (size_t)n->orders;
        memmove(before, before + 1, (size_t)(n->orders - 1) * sizeof *before);
        before[n->orders - 1] = (int32_t)s->id[row];
    }
    memcpy(s->call->logits + place * (size_t)n->vocabulary, logits,
           (size_t)n->vocabulary * sizeof *logits);
    for (int id = n->vocabulary; id % LANES; id++) logits[id] = logits[0];
    Floats most = load(logits), doubt = all(0.0f);
    for (int id = 0; id < n->vocabulary; id += LANES) {
        Floats x = load(logits + id);
        most = larger(most, x);
        /* 0 less 0, but not of what is not finite. */
        doubt = add(doubt, subtract(x, x));
    }
    float each[LANES], top;
    store(each, most);
    top = each[0];
    for (int lane = 1; lane < LANES; lane++)
        if (each[lane] > top) top = each[lane];
    const int is_broken = s->broken[row] || any_nan(doubt);
    const int64_t forced = s->call->forced[place];
    int64_t id = forced < 0 ? 0 : forced;
    if (forced < 0 && !is_broken) id = choose(s, row, step, logits, top);
    s->id[row] = id;
    s->call->chosen[place] = is_broken ? NOT_FINITE : id;
}

/* ---- A call ---- */

static void *room(size_t count, size_t size, int *failed) {
    const size_t bytes = (count * size + 63) / 64 * 64;
    void *found = aligned_alloc(64, bytes ? bytes : 64);
    if (found) memset(found, 0, bytes ? bytes : 64);
    *failed |= !found;
    return found;
}

static void begin(const struct scratch *s) {
    const struct network *n = s->network;
    const struct call *call = s->call;
    const size_t hidden = (size_t)n->hidden, count = (size_t)call->rows;
    const size_t across = (size_t)s->blocks * COLUMNS;
    for (size_t layer = 0; layer < (size_t)n->layers; layer++)
        for (size_t row = 0; row < count; row++) {
            const size_t at = layer * count + row;
            memcpy(s->h + at * s->cells, call->h + at * hidden, hidden * sizeof(float));
            memcpy(s->c + at * s->cells, call->c + at * hidden, hidden * sizeof(float));
            for (int block = 0; block < s->blocks; block++)
                quantise(activations(s, (int)layer, 0) + row * s->stride + (size_t)block * LANES,
                         load(s->h + at * s->cells + (size_t)block * LANES));
        }
    for (size_t row = 0; row < count; row++) {
        s->id[row] = call->id[row];
        for (size_t at = 0; at < (size_t)n->orders; at++)
            s->history[row * (size_t)n->orders + at] = (int32_t)call->history[row * (size_t)n->orders + at];
        for (size_t style = 0; style < (size_t)n->styles; style++) {
            const Floats weight = all(call->style[row * (size_t)n->styles + style]);
            for (size_t at = 0; at < across; at += LANES) {
                float *sum = s->styled + row * across + at;
                store(sum, fused(weight, load(n->style + style * across + at), load(sum)));
            }
        }
    }
}

static void end(const struct scratch *s) {
    const size_t hidden = (size_t)s->network->hidden;
    const size_t all_cells = (size_t)s->network->layers * (size_t)s->call->rows;
    for (size_t at = 0; at < all_cells; at++) {
        memcpy(s->call->h_end + at * hidden, s->h + at * s->cells, hidden * sizeof(float));
        memcpy(s->call->c_end + at * hidden, s->c + at * s->cells, hidden * sizeof(float));
    }
    memcpy(s->call->id_end, s->id, (size_t)s->call->rows * sizeof *s->id);
}

/* Returns 0, or 1 if there is no memory. */
int charloom_advance(const struct network *network, const struct call *call) {
    struct scratch s = {.network = network, .call = call};
    const size_t layers = (size_t)network->layers, rows = (size_t)call->rows;
    const size_t ids = (size_t)groups_of(network) * IDS;
    s.blocks = (network->hidden + LANES - 1) / LANES;
    s.cells = (size_t)s.blocks * LANES;
    s.stride = (s.cells + 63) / 64 * 64;
    s.all_rows = (rows + CHUNK - 1) / CHUNK * CHUNK;
    int failed = 0;
    s.h = room(layers * rows * s.cells, sizeof *s.h, &failed);
    s.c = room(layers * rows * s.cells, sizeof *s.c, &failed);
    s.q = room(layers * 2 * s.all_rows, s.stride, &failed);
    s.styled = room(network->styles ? rows * s.cells * GATES : 0, sizeof *s.styled, &failed);
    s.outputs = room(rows * ids, sizeof *s.outputs, &failed);
    s.weights = room(2 * ids, sizeof *s.weights, &failed);
    s.id = room(rows, sizeof *s.id, &failed);
    s.history = room(rows * (size_t)network->orders, sizeof *s.history, &failed);
    s.broken = room(rows, 1, &failed);
    if (!failed) {
        begin(&s);
        if (call->tiles) begin_tiles();
        for (int step = 0; step < call->steps; step++) {
            for (int layer = 0; layer < network->layers; layer++)
                advance_layer(&s, layer, step % 2);
            advance_output(&s);
            for (int row = 0; row < call->rows; row++) take(&s, row, step);
        }
        if (call->tiles) end_tiles();
        end(&s);
    }
    free(s.h), free(s.c), free(s.q), free(s.styled), free(s.outputs), free(s.weights), free(s.id);
    free(s.history), free(s.broken);
    return failed;
}

/* What each id adds to the first layer: its embedding times the weights, plus the bias, summed in
   the order of the embedding's columns. embedding [ids][size], weights [size][columns]. */
void charloom_fold(int64_t ids, int64_t size, int64_t columns, const float *embedding,
                   const float *weights, const float *bias, float *to) {
    for (int64_t id = 0; id < ids; id++, to += columns) {
        memcpy(to, bias, (size_t)columns * sizeof *to);
        for (int64_t k = 0; k < size; k++) {
            const Floats factor = all(embedding[id * size + k]);
            for (int64_t at = 0; at < columns; at += LANES)
                store(to + at, fused(factor, load(weights + k * columns + at), load(to + at)));
        }
    }
}
