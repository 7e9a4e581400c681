"""The section that explains the words of the page."""

from __future__ import annotations

from microfield.report.drawing.markup import escape, section

WORDS = (
    ("original, reconstruction", "The image that was compressed, and what comes out of the file."),
    ("ratio", "Bytes of the raw array over bytes of the file: 64× means a file of one sixty-fourth."),
    ("PSNR", "Peak signal-to-noise ratio: the range of the image over the typical error, in decibels. 6 dB more is half the error. "
             "Noise that was lost counts as error, so a noisy image has a low PSNR even if all its structure is there."),
    ("noise", "Grain that differs from pixel to pixel and would be another one in the next exposure. It cannot be compressed and "
              "is what goes first."),
    ("noise sigma", "The typical size of that grain in grey levels (its standard deviation)."),
    ("error that neighbours share", "Error with a shape: a blurred edge, a lost object, a step. Lost grain has none."),
    ("SSIM", "Structural similarity: likeness of local patterns, 1 for equal."),
    ("FRC", "Fourier ring correlation: agreement of both images by size of detail, from coarse to fine."),
    ("percentile", "The 99.9 percentile is the grey level that 99.9 % of the pixels stay below. Pictures go from the 0.1 to the "
                   "99.9 percentile, so that a few hot pixels do not make everything else black."),
    ("gamma", "Below 1 it brightens the dark parts of the pictures. It changes what you see, not what was measured."),
    ("segmentation, object", "Pixels told apart from the background, and a connected piece of them."),
    ("IoU", "Intersection over union: the area two outlines share over the area they cover together; 1 for equal, 0.5 counts as "
            "found."),
    ("F1", "Share of objects (or spots) found in both images: lost and invented ones lower it alike; 1 for none."),
    ("trace", "Mean intensity of a region over time."),
    ("colocalisation", "How far two channels are bright in the same places (Pearson's and Manders' coefficients)."),
    ("verdict", "Fine, with care, or not advised, for every use by its worst number. Not judged (grey) means that this image gave "
                "nothing to judge by, which is no praise."),
)
"""Words and what they mean, in the order of the page."""


def glossary_section() -> str:
    """All words, in a list."""
    words = "".join(f"<div><dt>{escape(word)}</dt><dd>{escape(meaning)}</dd></div>" for word, meaning in WORDS)
    return section("words", "Words", f'<dl class="meanings">{words}</dl>')
