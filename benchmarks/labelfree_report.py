"""docs/studies/zhou.md from the rows of benchmarks/labelfree.py: which of the paper's claims hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.labelfree import ROWS
from benchmarks.markdown import table
from microfield.study.labelfree import MORE, Row
from microfield.study.labelfree_report import cells, standing

PAGE = Path(__file__).parents[1] / "docs" / "studies" / "zhou.md"


def write(rows: Sequence[Row]) -> str:
    """The page."""
    made = [row for row in rows if "message" not in row]
    alone = [row["f(x) with t"]["pearson"] for row in made]
    fields, methods = sorted({row["image"] for row in made}), list(dict.fromkeys(row["method"] for row in made))
    missing = [f"`{row['method']}` at {row['ratio']:g}: {row['message']}" for row in rows if "message" in row]
    parts = [
        "# Zhou et al., claim by claim\n",
        "Z. Zhou et al., *Deep learning based image compression for microscopy images: an empirical study* (Biological Imaging, "
        "2024), judge a codec by what it does to the analysis that follows: fluorescence predicted from bright field. "
        "`microfield study labelfree` repeats their five comparisons with a small U-Net that is trained in the study, each "
        "field split into a part that trains and one that is measured.\n",
        f"**{standing(rows)} {len(methods)} methods. No claim about images in general follows from it.** The fields are "
        f"{', '.join(f.removesuffix('.ome.tif') for f in fields)} of *C. elegans*; the predictor f reaches a correlation with the "
        f"truth of {min(alone):.3f} on the original bright field. There is no bright-field stack in our images, so of 3-D there is "
        "code and a synthetic test, and no claim. Learned codecs are not in these rows.\n",
        *_caveat(made), "## The paper's claims\n", table(["claim", "here"], _claims(made)),
        "## All comparisons\n",
        "Pearson correlation on the part that did not train. x is the bright field, x^ its copy, t the fluorescence, f a predictor "
        "trained on x, g one trained on x^. f and g start from the same network, trained on x, and go on for "
        f"{MORE:.0%} of its steps, f on x and g on x^: g has seen the originals, too, in which it differs from the paper's.\n",
        table(*cells(rows)), "The same as SSIM:\n", table(*cells(rows, "ssim")),
        *(["Not reached:\n", "\n".join(f"* {said}" for said in missing) + "\n"] if missing else []),
        "## Repeat it\n",
        "`python -m benchmarks.labelfree --data FOLDER` measures what is missing, `python -m benchmarks.labelfree_report` writes "
        "this page. On your own images: `microfield study labelfree IMAGES --channels 0,1 --methods field,jpegxl --ratios 16,64 "
        "--out DIR`.\n",
    ]
    return "\n".join(parts)


def _caveat(made: Sequence[Row]) -> list[str]:
    """What to say where the prediction gets no worse, or better, the more is lost: then it does not use what is lost."""
    coarse = [row for row in made if row["ratio"] >= 256]
    better = [row for row in coarse if row["f(x^) with t"]["pearson"] >= row["f(x) with t"]["pearson"]]
    if not coarse or 2 * len(better) < len(coarse):
        return []
    least = min(row["f(x) with f(x^)"]["pearson"] for row in made)
    said = ("**The test is weak.** From 256 times on the prediction from the copy agrees *better* with the truth than that from "
            f"the original on {len(better)} of {len(coarse)} copies: a network of this size and so few steps sees coarse structure "
            "only, and gains by a blur. What compression takes it does not use, so that these figures do not show that a good "
            f"predictor would be as indifferent. The predictions themselves do change: f(x) and f(x^) correlate by {least:.3f} at "
            "the least.\n")
    return [said]


def _claims(made: Sequence[Row]) -> list[list[str]]:
    """What the paper found, and what the rows say."""
    losses = [(row["f(x) with t"]["pearson"] - row["f(x^) with t"]["pearson"], row) for row in made]
    gains = [row["g(x^) with t"]["pearson"] - row["f(x^) with t"]["pearson"] for row in made]
    worst, where = max(losses, key=lambda one: one[0])
    small = [loss for loss, row in losses if row["ratio"] <= 64]
    failed = [gain for gain, (loss, _) in zip(gains, losses, strict=True) if loss > 0.02]
    repaired = "not tested: f lost more than 0.02 on no copy"
    if failed:
        repaired = (f"g is better than f by {sum(failed) / len(failed):+.3f} on average over the {len(failed)} copies where f lost "
                    f"more than 0.02 (range {min(failed):+.3f} to {max(failed):+.3f})")
    fall = (f"the correlation with the truth changes by {-sum(small) / len(small):+.4f} on average over {len(small)} copies up to "
            f"64 times, at worst by {-max(small):+.4f}")
    return [
        ["In 2-D compression hardly changes the prediction",
         f"{'holds for this predictor' if max(small) < 0.02 else 'does not hold'}: {fall}"],
        ["A predictor trained on originals fails on compressed images",
         f"{'holds at high ratios' if worst > 0.05 else 'does not show here'}: the worst change is {-worst:+.3f} "
         f"(`{where['method']}`, {where['ratio']:g} times)"],
        ["Training on compressed images repairs it", repaired],
        ["In 3-D the prediction suffers much more", "not tested: no bright-field stack"],
        ["Learned codecs are far better than classic ones", "not tested here: see [the results](../results.md)"],
    ]


def main() -> None:
    """Write the page."""
    lines = (ROWS / "labelfree.jsonl").read_text(encoding="utf-8").splitlines()
    PAGE.write_text(write([json.loads(line) for line in lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
