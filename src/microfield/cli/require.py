"""``compare --require``: what a copy has to be, so that a script can go by the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microfield.errors import UsageError

if TYPE_CHECKING:
    from microfield.metrics.comparison import Comparison
    from microfield.report.quick import QuickVerdict

FACTS = ("exact", "same-original")
"""Requirements without a number."""

AT_LEAST, AT_MOST = ("psnr", "least-psnr", "ssim"), ("noise-factor", "max-error")
"""Requirements with a number."""

USES, GRADES = ("look", "count", "spots", "measure"), ("fine", "with care")
"""Uses of the verdict, and the grades that can be required of each, best first."""

HELP = ("end with status 1 unless this holds: exact, same-original, psnr=DB, least-psnr=DB (of every channel), ssim=N, "
        "noise-factor=N, max-error=N, or look, count, spots or measure with =fine or =care; may be given several times")


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Attributes
    ----------
    name : one of `FACTS`, `AT_LEAST`, `AT_MOST` and `USES`
    limit : the number, where one belongs to it
    grades : the grades that will do, for a use
    """

    name: str
    limit: float = 0.0
    grades: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """The requirement that a text such as ``psnr=40`` names.

        Raises
        ------
        UsageError
            There is no such requirement.
        """
        name, given, value = text.strip().lower().replace("_", "-").partition("=")
        if name in FACTS and not given:
            return cls(name)
        if name in USES and value in ("fine", "care"):
            return cls(name, grades=GRADES if value == "care" else GRADES[:1])
        if name in AT_LEAST + AT_MOST:
            try:
                return cls(name, float(value))
            except ValueError:
                raise UsageError(f"--require {text} must have a number, such as {name}=40.") from None
        raise UsageError(f"--require {text} is none of {', '.join(FACTS)}, {', '.join(f'{n}=N' for n in AT_LEAST + AT_MOST)} and "
                         f"{', '.join(f'{u}=fine' for u in USES)} (or =care).")

    def unmet(self, comparison: Comparison, verdict: QuickVerdict | None) -> str:
        """Why it does not hold; empty where it does."""
        if self.name == "exact":
            return "" if comparison.exact else "the copy is not exact"
        if self.name == "same-original":
            return "" if comparison.same_original else self._about_original(comparison)
        if self.name in USES:
            grade = {} if verdict is None else {v.use: v.grade.words for v in verdict.verdicts}
            found = grade.get(self.name, "not judged")
            return "" if found in self.grades else f"{self.name} is {found}"
        value = self._measured(comparison)
        if value is None:
            return f"{self.name} was not measured"
        met = value <= self.limit if self.name in AT_MOST else value >= self.limit
        return "" if met else f"{self.name} is {value:.4g}, not {'at most' if self.name in AT_MOST else 'at least'} {self.limit:g}"

    @staticmethod
    def _about_original(comparison: Comparison) -> str:
        return ("the copy does not say which original it was made from" if comparison.same_original is None
                else "the copy was made from another original")

    def _measured(self, comparison: Comparison) -> float | None:
        """The number that the limit holds for; no error at all is exact in every measure."""
        if self.name == "least-psnr":
            return min(channel.psnr for channel in comparison.channels)
        if comparison.exact and self.name in ("ssim", "noise-factor"):
            return 1.0 if self.name == "ssim" else 0.0
        value: float | None = comparison[self.name.replace("-", "_")]
        return value


def check(requirements: Sequence[Requirement], ssim: bool, verdict: bool) -> None:
    """Refuse requirements on what is not to be measured.

    Raises
    ------
    UsageError
        SSIM or the verdict is left out, and required.
    """
    for one in requirements:
        if one.name == "ssim" and not ssim:
            raise UsageError("--require ssim needs SSIM; leave --no-ssim out.")
        if one.name in USES and not verdict:
            raise UsageError(f"--require {one.name} needs the verdict; leave --no-verdict out.")
