"""``microfield compress``: one image into one file, or many into a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from microfield.cli.batch import compress_many
from microfield.cli.inputs import ALL, Input
from microfield.cli.judging import judged
from microfield.cli.one import compress_one, predict, write_page
from microfield.cli.request import budget_of, flag, limit_threads, saliency_file
from microfield.cli.strict_json import strict_json
from microfield.errors import UsageError


def add_to(commands: Any) -> None:
    """Declare the command."""
    p = commands.add_parser("compress", help="compress images", description="Compress images into microfield files.")
    p.add_argument("paths", nargs="+", metavar="IN... OUT.mfield",
                   help="images, then the file to write (or --out-dir); OUT.ome.zarr is an OME-Zarr store of microfield chunks")
    p.add_argument("--out-dir", type=Path, help="write NAME.mfield for every input into this folder")
    p.add_argument("--overwrite", action="store_true", help="replace outputs that exist; an input is never replaced")
    budget = p.add_argument_group("budget, exactly one")
    budget.add_argument("--ratio", type=float, help="raw bytes / file bytes, such as 128")
    budget.add_argument("--bits-per-voxel", type=float, help="bits per array element, such as 0.1")
    budget.add_argument("--max-bytes", help="bytes of the file, such as 300kB")
    budget.add_argument("--psnr", type=float, help="at least this PSNR in dB")
    budget.add_argument("--least-psnr", type=float, help="at least this PSNR in dB in every channel")
    budget.add_argument("--noise-factor", type=float, help="root mean square error at most this many noise sigmas")
    budget.add_argument("--lossless", action="store_true", help="an exact copy, also of labels and masks")
    budget.add_argument("--safe-for", metavar="look|count|spots|measure|segment|trace|colocalise|denoise|MODULE:FUNC",
                        help="the smallest file in which this analysis, or your function of an array that returns numbers or a "
                             "mask, finds what it finds in the image")
    p.add_argument("--tolerance", type=float, help="with --safe-for segment, trace, colocalise, denoise or MODULE:FUNC: how much "
                                                   "the measure may lose (default 0.02)")
    how = p.add_argument_group("how")
    how.add_argument("--method", help="see `microfield methods`; auto tries field, alone and upon hevc and av1 (default: field)")
    how.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="option of the method")
    how.add_argument("--effort", type=int, default=5, help="0 to 9: how much work; the method says what each means (default 5)")
    how.add_argument("--time-limit", help="seconds for the fit, such as 60s or 2min")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--threads", type=int)
    how.add_argument("--tile", help="cut into parts, such as y=512,x=512")
    how.add_argument("--channel-weights", help="relative importance of the channels, such as 1,1,4")
    how.add_argument("--saliency", metavar="MASK|auto",
                     help="image of what matters most: integers mark the voxels that are not 0, floats are the weights of voxels; "
                          "it may lack axes of the input. auto: the structure that the image shows above its noise")
    how.add_argument("--saliency-weight", type=float, metavar="W",
                     help="how many times more a voxel counts that an integer MASK marks, or that shows most structure (default 4)")
    how.add_argument("--guide", metavar="filament|spots|nuclei|perceptual|MODULE:FUNC",
                     help="keep a segmentation: of lines and membranes, puncta, or nuclei; or look like --reference; "
                          "or do what your own function of two blocks wants (differentiable by jax)")
    how.add_argument("--reference", metavar="IMAGE",
                     help="for --guide perceptual: a clean image of other fields of such a specimen; the copy is then denoised")
    what = p.add_argument_group("input")
    what.add_argument("--axes", help="one letter of TCZYXS per axis, such as ZYX")
    what.add_argument("--scene", help="name or number of the series in the file; all (with --out-dir) writes one file each, "
                                      "NAME-SCENE.mfield")
    what.add_argument("--stack", action="store_true",
                      help="IN is a folder of planes whose names say which they are, such as cell_t001_z012_c1.tif")
    what.add_argument("--recursive", action="store_true", help="with --out-dir: take every image in the folders IN and below")
    what.add_argument("--channel", help="name or number of the one channel to take")
    what.add_argument("--nan-fill", type=float, help="value that replaces NaN and infinity")
    what.add_argument("--not-labels", action="store_true", help="compress even what looks like object labels")
    what.add_argument("--keep-metadata", action="store_true", help="keep metadata, colours and labels whatever they cost")
    p.add_argument("--report", metavar="OUT.html", help="write a page that shows what was lost and what the file is good for")
    p.add_argument("--no-verdict", action="store_true", help="do not judge what the copy is good for, which takes a few seconds")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    p.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compress what the arguments say; the exit status."""
    limit_threads(arguments.threads)
    _check(arguments)
    budget = budget_of(arguments)
    if not budget:
        scene = None if arguments.scene == ALL else arguments.scene
        predict(arguments, Input(arguments.paths[0], "", scene, stack=arguments.stack))
    if arguments.out_dir is not None:
        return compress_many(arguments, budget)
    source, destination = Input(arguments.paths[0], "", arguments.scene, stack=arguments.stack), arguments.paths[1]
    _check_destinations(arguments, source.source, destination)
    report = compress_one(arguments, budget, source, destination, arguments.overwrite)
    if not arguments.json:
        print(report.describe(destination), flush=True)
    verdict = judged(arguments, source, destination, report)
    if arguments.json:
        print(strict_json({"input": source.source, "output": destination, **report.as_dict(), **verdict.as_dict()}))
    elif lines := verdict.lines():
        print("\n".join(lines))
    if arguments.report:
        write_page(arguments, source, destination)
    return 0


def _check_destinations(arguments: argparse.Namespace, source: str, destination: str) -> None:
    """Refuse outputs that cannot be written or would replace something: before the work, since a fit can take minutes."""
    from microfield.writing.compress import check_destination

    sources = [source, *filter(None, [saliency_file(arguments), arguments.reference])]
    check_destination(destination, arguments.overwrite, sources)
    if arguments.report:
        from microfield.report.page import check_destination as check_page

        check_page(arguments.report, arguments.overwrite, [*sources, destination])


def _check(arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not go together.

    Raises
    ------
    UsageError
        They do not.
    """
    if arguments.saliency_weight is not None and arguments.saliency is None:
        raise UsageError("--saliency-weight says how much more a voxel counts that a mask marks; give the mask with --saliency.")
    given = budget_of(arguments)
    if not given:
        return  # A prediction needs no output.
    if len(given) > 1:
        raise UsageError(f"give one budget, not {' and '.join(map(flag, given))}.")
    if arguments.out_dir is not None:
        if arguments.report:
            raise UsageError("--report is for one image; for many write the pages with `microfield compare --report`.")
        return
    if arguments.recursive or arguments.scene == ALL:
        raise UsageError(f"{'--recursive' if arguments.recursive else '--scene all'} writes several files; give --out-dir.")
    if len(arguments.paths) != 2:
        raise UsageError(f"compress takes one input and one output, not {len(arguments.paths)} paths; for more inputs give "
                         "--out-dir.")
    if arguments.report and arguments.paths[0] == "-":
        raise UsageError("--report reads the image again and so cannot be given with standard input.")
