"""The images that the networks of this method are trained on, in two halves, with their licences.

Only images whose licence lets what is learnt from them be shipped: no GPL, no NonCommercial, no "free for research" ones.
Half "a" trains the networks named "a", so that the images of half "b" are new to those, and the other way round; "all" trains
on both. Pairs of pictures of the same field are in the same half.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from microfield.io import open_image
from microfield.methods.field.lifting import Floats

LICENCES = {
    "a": {
        "fluo3d_nuclei_confocal": "BSD-3",
        "fluo3d_nuclear_envelope_drosophila": "CC BY 4.0",
        "lightsheet_mesospim_nuclei_small": "MIT",
        "timelapse_membrane_12bit": "BSD-3 and CC BY 4.0",
        "fluo2d_nuclei_stardist": "BSD-3",
        "fluo2d_protein_control": "CC BY 4.0",
        "multich_hela_16bit": "BSD-3 and CC BY 4.0",
        "em_celegans_volume": "CC BY 4.0",
        "ct_lung1": "BSD-3",
        "histology_ihc_rgb": "CC0",
        "pair_bpae_confocal_noisy": "Apache-2.0",
        "fluo2d_plant_12bit_saturated": "CC BY 4.0",
        "labelfree_celegans_3ch": "BSD-3",
        "noisy_cells_eres": "CC BY 4.0",
        "pair_bpae_confocal_clean": "Apache-2.0",
        "ct_iguana_8bit": "BSD-2",
        "em_fibsem_shale_unaligned": "MIT",
        "fluo2d_bacteria_cords": "CC BY 4.0",
        "fluo2d_confocal_3ch_oib": "BSD-3",
        "fluo2d_microtubules": "CC BY 4.0",
        "fluo2d_nuclei_offset32768": "CC BY 4.0",
        "fluo3d_epithelium_membrane": "BSD-3",
        "flim_seminal_receptacle_64bins_wide": "BSD-3",
        "lowlight_photoncount_cells_a": "BSD-3",
        "microct_sandstone": "MIT",
        "multich_bpae_actin_mito_dna": "BSD-3 and CC BY 4.0",
        "multich_dapi_tubulin_8bit": "CC BY 4.0",
        "multich_nuclei_golgi": "CC BY 4.0",
        "multich_osteosarcoma_rgb": "MIT",
        "phase_yeast_yeaz": "MIT",
        "timelapse_brightfield_colloids": "BSD-3",
        "timelapse_mitocheck_h2b": "CC BY 4.0",
    },
    "b": {
        "fluo3d_pollen_clean": "BSD-3",
        "fluo3d_pollen_noisy_blurred": "BSD-3",
        "fluo3d_chromosomes": "CC BY 4.0",
        "fluo3d_plant_nuclei_a": "MIT",
        "lightsheet_lattice_raw": "MIT",
        "timelapse_2ch_mitosis": "BSD-3",
        "fluo2d_t_golgi_float": "CC BY 4.0",
        "spots2d_terra": "BSD-3",
        "multich_hips_bbbc034": "BSD-3",
        "em_sem_redcells": "BSD-3",
        "em_cryotomogram_float": "BSD-3",
        "mri_brain1": "BSD-3",
        "mri_t1_head_8bit": "BSD-2",
        "histology_skin_rgb": "BSD-3",
        "labelfree_celegans_bf_gfp": "BSD-3",
        "pair_celegans_airyscan_clean": "BSD-3",
        "wholebrain_2ch_planes": "BSD-3",
        "brightfield_worms_rgb": "BSD-3",
        "ct_angio_avm_8bit": "BSD-2",
        "em_cryo_micrograph_epu": "BSD-3",
        "em_fibsem_drosophila_a": "CC BY 3.0",
        "em_fibsem_drosophila_b": "CC BY 3.0",
        "fluo2d_comet_assay": "BSD-3",
        "fluo2d_maize_membranes": "BSD-3 and CC BY 4.0",
        "fluo3d_brainbow_cortex_3ch": "BSD-3",
        "fluo3d_nucleus_dna_noisy": "CC BY 4.0",
        "lightfield_guv_raw": "BSD-3",
        "mri_gadolinium_8bit": "BSD-2",
        "multich_fly_kc167_3ch": "BSD-3",
        "multich_membrane_nuclei_hotpixel": "CC BY 4.0",
        "multich_nuclei_nup_8bit": "CC BY 4.0",
        "multich_tubulin_h2b_2ch": "CC BY 4.0",
        "spots3d_16bit": "CC BY 4.0",
        "timelapse3d_yeast_mitochondria": "BSD-3",
        "timelapse_ecoli_phase_a": "MIT",
    },
}
"""Licence of every image's source, by half."""


def arguments(description: str | None, steps: int) -> argparse.Namespace:
    """What a training program is asked for: ``data``, ``folds`` (a list), ``steps`` and ``seed``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training images")
    parser.add_argument("--folds", type=lambda text: text.split(","), default=["all", "a", "b"],
                        help="which networks, such as all,a,b")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def images(fold: str) -> list[str]:
    """Names of the images that the networks named ``fold`` ("a", "b" or "all") are trained on."""
    return [name for half in ("a", "b") if fold in (half, "all") for name in LICENCES[half]]


def volumes(data: Path, name: str, channels: int = 4, extents: tuple[int, int, int, int] = (4, 48, 320, 320)) -> Iterator[Floats]:
    """Channels of a training image.

    Parameters
    ----------
    data : folder of ``NAME.ome.tif`` files
    name : one of `images`
    channels : no more than so many
    extents : cut from the middle of each (the batch from its start)

    Yields
    ------
    float32 array (batch, z, y, x), divided by the range of values of the whole channel. One of T and Z longer than 1 is the z
    axis; of both, T is the batch.
    """
    image = open_image(data / f"{name}.ome.tif")
    merged = [i for i, axis in enumerate(image.axes) if axis in "CS"]
    values = np.moveaxis(np.asarray(image.data[...]), merged, range(len(merged)))
    shape = values.shape[len(merged) :]
    for channel in values.reshape(-1, *shape)[:channels]:
        grey = channel.astype(np.float32)
        volume = grey.reshape((1,) * (4 - grey.ndim) + grey.shape)
        box = [slice(0, extents[0])]
        for size, most in zip(volume.shape[1:], extents[1:], strict=True):
            start = max(0, size - most) // 2
            box.append(slice(start, start + most))
        span = float(grey.max()) - float(grey.min()) or 1.0
        yield np.asarray(volume[tuple(box)] / span, np.float32, order="C")
