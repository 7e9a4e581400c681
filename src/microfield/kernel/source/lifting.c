/* The 9/7 wavelet along one axis (microfield.methods.field.lifting), in place. */
#include <string.h>

#include "kernel.h"

/* Columns that are lifted together where the axis is not the last one. */
#define WIDTH 64

/* data[i] += factor * (from[i] + from[i + width]) */
static void both_sides(float *data, const float *from, int64_t n, int64_t width, float factor) {
    for (int64_t i = 0; i < n; i++)
        data[i] += factor * (from[i] + from[i + width]);
}

static void one_side(float *data, const float *from, int64_t width, float factor) {
    const float twice = 2.0f * factor;
    for (int64_t i = 0; i < width; i++)
        data[i] += twice * from[i];
}

/* A lifting step of rows of `width`: odd rows change by their even neighbours (predict), or the reverse. Past the ends the signal is
 * its own mirror image. */
static void lift(float *even, int64_t evens, float *odd, int64_t odds, int64_t width, float factor, int predict) {
    if (predict) {
        both_sides(odd, even, (evens - 1) * width, width, factor);
        if (odds == evens)
            one_side(odd + (odds - 1) * width, even + (evens - 1) * width, width, factor);
        return;
    }
    one_side(even, odd, width, factor);
    both_sides(even + width, odd, (odds - 1) * width, width, factor);
    if (evens > odds)
        one_side(even + (evens - 1) * width, odd + (odds - 1) * width, width, factor);
}

static void scale(float *values, int64_t n, float factor) {
    for (int64_t i = 0; i < n; i++)
        values[i] *= factor;
}

/* n rows of `width` at `data`, `stride` floats apart, through the even and the odd rows in `space`. */
static void rows(float *data, int64_t n, int64_t stride, int64_t width, const float *factors, float gain, float inverse_gain,
                 int forward, float *space) {
    const int64_t evens = (n + 1) / 2, odds = n / 2;
    float *even = space, *odd = space + evens * width;
    const size_t row = sizeof *data * (size_t)width;
    if (forward) {
        if (width == 1)
            for (int64_t i = 0; i < n; i++)
                (i & 1 ? odd : even)[i / 2] = data[i * stride];
        else
            for (int64_t i = 0; i < n; i++)
                memcpy((i & 1 ? odd : even) + i / 2 * width, data + i * stride, row);
        for (int k = 0; k < 4; k++)
            lift(even, evens, odd, odds, width, factors[k], k % 2 == 0);
        scale(even, evens * width, gain);
        scale(odd, odds * width, inverse_gain);
        for (int64_t i = 0; i < n; i++)
            memcpy(data + i * stride, space + i * width, row);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(space + i * width, data + i * stride, row);
    scale(even, evens * width, inverse_gain);
    scale(odd, odds * width, gain);
    for (int k = 3; k >= 0; k--)
        lift(even, evens, odd, odds, width, -factors[k], k % 2 == 0);
    for (int64_t i = 0; i < n; i++)
        memcpy(data + i * stride, (i & 1 ? odd : even) + i / 2 * width, row);
}

/* One level along one axis of a corner of an array of four axes.
 *
 * strides  in floats; the last one is 1
 * axis     0 to 3; the corner's extent there is at least 2
 * factors  of the four lifting steps
 * space    floats: the extent along the axis, WIDTH times unless the axis is the last one
 */
EXPORT void mf_lift(float *data, const int64_t *extents, const int64_t *strides, int32_t axis, const float *factors, float gain,
                    float inverse_gain, int32_t forward, float *space) {
    int64_t n[4], step[4];
    memcpy(n, extents, sizeof n);
    memcpy(step, strides, sizeof step);
    const int64_t along = n[axis], stride = step[axis], width = axis == 3 ? 1 : WIDTH;
    n[axis] = 1;
    for (int64_t a = 0; a < n[0]; a++)
        for (int64_t b = 0; b < n[1]; b++)
            for (int64_t c = 0; c < n[2]; c++)
                for (int64_t d = 0; d < n[3]; d += width) {
                    const int64_t columns = n[3] - d < width ? n[3] - d : width;
                    rows(data + a * step[0] + b * step[1] + c * step[2] + d, along, stride, columns, factors, gain, inverse_gain,
                         forward, space);
                }
}
