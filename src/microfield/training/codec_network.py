"""Learned codecs in jax: their layers, their entropy models with their rates, and weights to start from.

Images have the shape (batch, z, y, x, channels). Parameters are ``weight0``, ``bias0``, ``beta0``, ``gamma0`` and so on as
`microfield.methods.learned.form` numbers the layers (beta and gamma as square roots, so that they stay positive), and those of the
factorised density, ``density_...``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from microfield.methods.learned.form import LEAK, Form, Layer

Params = dict[str, Any]
Floats = npt.NDArray[np.float32]

DENSITY = (1, 3, 3, 3, 3, 1)
"""Widths of the network that is the cumulative density of a factorised latent (Balle et al. 2018, appendix 6.1)."""
LEAST_SCALE = 0.11
"""Scales of latents are at least this."""
LEAST_LIKELIHOOD = 1e-9
GAMMA_UNIT = 1e-3
"""What the square roots of gamma are multiples of: inputs are up to thousands, so that the optimiser must change them little."""
DAUBECHIES = np.array([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5]) / (4 * 2**0.5)
"""Low-pass taps of the orthonormal wavelet of four taps (Daubechies 1988): it fits a kernel of five, there and back."""
WAVELET = (np.array([0, *DAUBECHIES]), np.array([0, *DAUBECHIES[::-1] * (1, -1, 1, -1)]))
HAAR = (np.array([0, 1, 1]) / math.sqrt(2), np.array([0, 1, -1]) / math.sqrt(2))
"""Low-pass and high-pass taps in kernels of five and of three."""


# -- layers ---------------------------------------------------------------------------------------------------------------------


def apply(params: Params, form: Form, name: str, values: Any) -> Any:
    """What a network of the form makes of values (batch, z, y, x, channels)."""
    for number, layer in form.network(name):
        values = _activate(params, number, layer, _convolve(params[f"weight{number}"], layer, values) + params[f"bias{number}"])
    return values


def _convolve(weight: Any, layer: Layer, values: Any) -> Any:
    """The sums of a layer: convolutions of planes, one for every place along z of the kernel."""
    import jax.numpy as jnp

    (depth, *_), (along, *_) = layer.kernel, layer.stride
    reach = depth // 2
    if not layer.transposed:
        n = values.shape[1]
        padded = jnp.pad(values, ((0, 0), (reach, reach), (0, 0), (0, 0), (0, 0)))
        return sum(_plane(weight[k], layer, padded[:, k : k + n : along]) for k in range(depth))
    n = values.shape[1] * along
    total: Any = None
    for k in range(depth):
        plane = _plane(weight[k], layer, values)
        spread = jnp.zeros((plane.shape[0], n + 2 * reach, *plane.shape[2:]), plane.dtype)
        spread = spread.at[:, k : k + n : along].set(plane)
        total = spread if total is None else total + spread
    return total[:, reach : reach + n]


def _plane(weight: Any, layer: Layer, values: Any) -> Any:
    import jax

    (_, ky, kx), (_, sy, sx) = layer.kernel, layer.stride
    flat = values.reshape(-1, *values.shape[2:])
    names = ("NHWC", "HWIO", "NHWC")
    if layer.transposed:
        pads = tuple((k - 1 - k // 2, k - 1 - k // 2 + s - 1) for k, s in ((ky, sy), (kx, sx)))
        out = jax.lax.conv_general_dilated(flat, weight[::-1, ::-1], (1, 1), pads, lhs_dilation=(sy, sx), dimension_numbers=names)
    else:
        pads = ((ky // 2, ky // 2), (kx // 2, kx // 2))
        out = jax.lax.conv_general_dilated(flat, weight, (sy, sx), pads, dimension_numbers=names)
    return out.reshape(*values.shape[:2], *out.shape[1:])


def _activate(params: Params, number: int, layer: Layer, sums: Any) -> Any:
    import jax.numpy as jnp

    if layer.activation == "leaky":
        return jnp.where(sums > 0, sums, LEAK * sums)
    if layer.activation == "relu":
        return jnp.maximum(sums, 0)
    if layer.activation == "none":
        return sums
    norm = jnp.sqrt(sums**2 @ ((GAMMA_UNIT * params[f"gamma{number}"]) ** 2).T + params[f"beta{number}"] ** 2 + 1e-6)
    return sums / norm if layer.activation == "gdn" else sums * norm


def predicted(params: Params, form: Form, hyper: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Means and scales of latents of ``shape`` from the decoded hyper-latents."""
    import jax.numpy as jnp

    found = apply(params, form, "hyper_synthesis", hyper)[:, : shape[1], : shape[2], : shape[3]]
    if not form.predicts_means:
        return jnp.zeros_like(found), jnp.maximum(found, LEAST_SCALE)
    return found[..., form.latents :], jnp.maximum(found[..., : form.latents], LEAST_SCALE)


# -- rates ----------------------------------------------------------------------------------------------------------------------


def gaussian_bits(values: Any, scales: Any) -> Any:
    """Bits of values in bins of width 1 around 0-mean normal distributions."""
    import jax.numpy as jnp
    from jax.scipy.special import erfc

    magnitudes = jnp.abs(values)
    root = 1 / (scales * math.sqrt(2))
    mass = 0.5 * (erfc((magnitudes - 0.5) * root) - erfc((magnitudes + 0.5) * root))
    return -jnp.log2(jnp.maximum(mass, LEAST_LIKELIHOOD))


def cumulative(params: Params, values: Any) -> Any:
    """Logits of the cumulative density at values (..., channels)."""
    import jax
    import jax.numpy as jnp

    logits = values[..., None]
    for i in range(len(DENSITY) - 1):
        matrix = jax.nn.softplus(params[f"density_matrix{i}"])
        logits = jnp.einsum("cij,...cj->...ci", matrix, logits) + params[f"density_bias{i}"][..., 0]
        if i < len(DENSITY) - 2:
            logits = logits + jnp.tanh(params[f"density_factor{i}"][..., 0]) * jnp.tanh(logits)
    return logits[..., 0]


def factorised_bits(params: Params, values: Any) -> Any:
    """Bits of values (..., channels) in bins of width 1 under the factorised density."""
    import jax
    import jax.numpy as jnp

    below, above = cumulative(params, values - 0.5), cumulative(params, values + 0.5)
    sign = jnp.where(below + above > 0, -1.0, 1.0)
    mass = jnp.abs(jax.nn.sigmoid(sign * above) - jax.nn.sigmoid(sign * below))
    return -jnp.log2(jnp.maximum(mass, LEAST_LIKELIHOOD))


def rounded(values: Any) -> Any:
    """Values rounded, with the slope of what is not rounded."""
    import jax
    import jax.numpy as jnp

    return values + jax.lax.stop_gradient(jnp.round(values) - values)


def reconstructed(params: Params, form: Form, images: Any, key: Any) -> tuple[Any, Any]:
    """Images (batch, z, y, x, channels) as they decode, and bits of every one of the batch (batch,).

    Rates are those of latents with noise, images those of rounded latents (Minnen and Singh 2020, section 3.3).
    """
    latents, bits = coded(params, form, apply(params, form, "analysis", images), key)
    return apply(params, form, "synthesis", latents), bits


def coded(params: Params, form: Form, latents: Any, key: Any) -> tuple[Any, Any]:
    """Latents as they decode, and bits of every one of the batch."""
    import jax

    noises = jax.random.split(key)

    def noisy(values: Any, which: int) -> Any:
        return values + jax.random.uniform(noises[which], values.shape, minval=-0.5, maxval=0.5)

    if not form.hyperprior:
        return rounded(latents), factorised_bits(params, noisy(latents, 0)).sum((1, 2, 3, 4))
    hyper = apply(params, form, "hyper_analysis", abs(latents) if form.absolute else latents)
    means, scales = predicted(params, form, rounded(hyper), latents.shape)
    bits = gaussian_bits(noisy(latents, 0) - means, scales).sum((1, 2, 3, 4))
    bits += factorised_bits(params, noisy(hyper, 1)).sum((1, 2, 3, 4))
    return rounded(latents - means) + means, bits


# -- weights to start from ------------------------------------------------------------------------------------------------------


def begin(form: Form, seed: int) -> Params:
    """Weights to start from: the transforms are wavelet packets, normalisations do little, the coarsest band predicts itself."""
    rng = np.random.default_rng(seed)
    params: Params = {}
    for i, layer in enumerate(form.layers):
        fan = math.prod(layer.kernel) * layer.inputs
        scale = {"analysis": 0.05, "synthesis": 0.02}.get(layer.network, 0.7) * (2 / fan) ** 0.5
        params[f"weight{i}"] = (rng.normal(size=(*layer.kernel, layer.inputs, layer.outputs)) * scale).astype(np.float32)
        params[f"bias{i}"] = np.zeros(layer.outputs, np.float32)
        if layer.activation in ("gdn", "igdn"):
            params[f"beta{i}"] = np.ones(layer.outputs, np.float32)
            params[f"gamma{i}"] = np.full((layer.outputs,) * 2, 0.05, np.float32)
            params[f"gamma{i}"][:, 0] = 1e-3  # The coarsest band is a hundred times larger, and would hide the others.
    energy = _packets(form, params)
    if form.hyperprior:
        _hyper(form, params, energy)
        params |= _density(form.hyper_latents, np.r_[100.0, np.full(form.hyper_latents - 1, 4.0)], rng)
    else:
        params |= _density(form.latents, energy, rng)
    return params


def _packets(form: Form, params: Params) -> Floats:
    """Fill analysis and synthesis with wavelet packets, the coarsest first; about how large the latents of each will be."""
    analysis, synthesis = form.network("analysis"), form.network("synthesis")
    paths: list[tuple[int, float]] = [(0, 0.0)]
    for depth, (number, layer) in enumerate(analysis):
        back = synthesis[-1 - depth][0]
        found = []
        for channel, (_, score) in enumerate(paths):
            for mask in range(8 if layer.stride[0] > 1 else 4):
                found.append((channel, mask, score + 2.0**-depth * mask.bit_count() + (0 if score else 1e-3 * mask.bit_count())))
        found.sort(key=lambda f: f[2])
        found = found[: layer.outputs]
        # Packets see nothing but their own bands, or the coarsest one, which is much larger, would leak into all.
        params[f"weight{number}"][..., : len(found)] = 0
        params[f"weight{back}"][..., : len(paths)] = 0
        for out, (channel, mask, _) in enumerate(found):
            params[f"weight{number}"][..., channel, out] = _separable(layer, mask, depth > 1)
            params[f"weight{back}"][..., out, channel] = _separable(layer, mask, depth > 1)
        paths = [(out, score) for out, (_, _, score) in enumerate(found)]
    scores = np.array([score for _, score in paths] + [4.0] * (form.latents - len(paths)))
    return np.asarray(2 + 200 * np.exp(-3 * scores), np.float32)


def _separable(layer: Layer, mask: int, short: bool) -> Floats:
    """A kernel (z, y, x) that is high-pass along the axes whose bits are set; ``short`` takes two taps, exact up to the borders."""
    kernels = []
    for axis, (k, s) in enumerate(zip(layer.kernel, layer.stride, strict=True)):
        taps = np.zeros(k)
        if s == 1:
            taps[k // 2] = 1
        else:
            high = mask >> (2 - axis) & 1
            if short or k == 3:
                taps[k // 2 - 1 : k // 2 + 2] = HAAR[high]
            else:
                taps[k // 2 - 2 : k // 2 + 3] = WAVELET[high]
        kernels.append(taps)
    return np.asarray(np.einsum("i,j,k->ijk", *kernels), np.float32)


def _hyper(form: Form, params: Params, energy: Floats) -> None:
    """The mean of the coarsest band through the hyper-latents, as its positive and its negative part; scales follow ``energy``."""
    inward, outward = form.network("hyper_analysis"), form.network("hyper_synthesis")

    def middle(number: int) -> Any:
        weight = params[f"weight{number}"]
        return weight[weight.shape[0] // 2]

    first, halves, last = inward[0][0], [n for n, _ in inward[1:]], outward[-1][0]
    for number in (*(n for n, _ in inward), *(n for n, _ in outward)):
        params[f"weight{number}"][..., :2, :] *= 0.1
        params[f"weight{number}"][..., :, :2] *= 0.1
    params[f"weight{first}"] *= 0.1
    params[f"weight{first}"][..., 0, 2:] *= 0.1
    middle(first)[1, 1, 0, :2] = 1, -1
    for number in halves:
        middle(number)[1:, 1:, 0, 0] = 0.25
        middle(number)[1:, 1:, 1, 1 if number != halves[-1] else 0] = 0.25 if number != halves[-1] else -0.25
    for k, (number, _) in enumerate(outward[:-1]):
        weight = middle(number)
        weight[1:, 1:, 0, 0] = 1
        weight[1:, 1:, 1 if k else 0, 1] = 1 if k else -1
    weight = middle(last)
    centre = weight.shape[1] // 2
    weight[centre, centre, :2, form.latents] = 1, -1
    params[f"bias{last}"][: form.latents] = energy / 10


def _density(channels: int, spreads: npt.NDArray[Any], rng: np.random.Generator) -> Params:
    """A factorised density of latents that are about as large as ``spreads`` (channels,)."""
    params: Params = {}
    for i in range(len(DENSITY) - 1):
        m, n = DENSITY[i], DENSITY[i + 1]
        scale = (spreads if i == 0 else np.ones(channels)) * 1.0
        slope = np.log(np.expm1(1 / scale / n)) if i == 0 else np.full(channels, math.log(math.expm1(1 / n)))
        params[f"density_matrix{i}"] = np.broadcast_to(slope[:, None, None], (channels, n, m)).astype(np.float32)
        params[f"density_bias{i}"] = rng.uniform(-0.5, 0.5, (channels, n, 1)).astype(np.float32)
        if i < len(DENSITY) - 2:
            params[f"density_factor{i}"] = np.zeros((channels, n, 1), np.float32)
    return params
