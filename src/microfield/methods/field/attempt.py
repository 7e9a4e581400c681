"""What an attempt of the encoder leaves to the next: a part ready to be quantised, and its coefficients as they were coded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from microfield.methods.field import coefficients
from microfield.methods.field.coefficients import Beforehand
from microfield.methods.field.film import Refiner, assembled
from microfield.methods.field.film_search import FilmPredictor, Found
from microfield.methods.field.groups import Groups
from microfield.methods.field.head import Head, step_of
from microfield.methods.field.lifting import Floats
from microfield.methods.field.network import ContextNet
from microfield.methods.field.quantise import Worth, usual_codes
from microfield.methods.field.refine_whole import WholeRefinement
from microfield.methods.field.sparse import Sparse
from microfield.methods.field.tuning import Changes, Seen


@dataclass(frozen=True)
class Prepared:
    """A part ready to be quantised, kept from one attempt to the next.

    Attributes
    ----------
    head : Head
        With the step of no attempt and alpha 0.
    groups : Groups
    coefficients : float32 arrays, one per group
    quality : float
        At which transform and rotation were decided.
    decisions : int
        How often.
    changes, tuned_at, tunings
        Of the context network, the quality they were found at, and how often.
    weights : float32 arrays, one per group
        Of the coefficients' squared errors; None where all weigh the same.
    guided_at, guidings
        The quality at which coefficients were moved for a guidance, and how often.
    shortened : tuple of str
        What the deadline made the encoder leave out.
    found : Found, optional
        What the last attempt found out of a film.
    network : WholeRefinement, optional
        Refines the decoded time points of a film.
    filters : tuple of int, optional
        Numbers of the filters that paid in every channel when the context network was last fitted; None before.
    """

    head: Head
    groups: Groups
    coefficients: list[Floats]
    quality: float
    decisions: int = 1
    changes: Changes | None = None
    tuned_at: float | None = None
    tunings: int = 0
    weights: list[Floats] | None = None
    guided_at: float | None = None
    guidings: int = 0
    shortened: tuple[str, ...] = ()
    found: Found | None = None
    network: WholeRefinement | None = None
    filters: tuple[int, ...] | None = None

    def without(self, what: str) -> Prepared:
        """The same, with something more that was left out."""
        return self if what in self.shortened else replace(self, shortened=(*self.shortened, what))


@dataclass(frozen=True)
class Attempt:
    """The state of an encoded part: what was prepared, the reconstructed coefficients of the attempt, seconds its coding took."""

    prepared: Prepared
    head: Head
    values: list[Sparse]
    seconds: float = 0.0

    def reconstructed(self) -> Floats:
        """Values of shape (channels, batch, z, y, x)."""
        groups, found, values = self.prepared.groups, self.prepared.found, [kept.full() for kept in self.values]
        if found is None:
            return groups.inverse(values)
        network = self.prepared.network
        refiner = None if network is None else Refiner(network, step_of(self.head.step))
        return assembled(groups, found.decided, values, refiner)


class Coded(NamedTuple):
    """Coefficients as bytes, what the decoder makes of them, and what was found out of a film."""

    data: bytes
    values: list[Floats]
    found: Found | None = None


def coded_by(prepared: Prepared, worth: Worth, step: int, contexts: ContextNet, changes: Changes | None = None,
             seen: Seen | None = None) -> Coded:
    """Quantise and code a prepared part.

    Parameters
    ----------
    prepared : Prepared
    worth : Worth
        What errors and bits count.
    step : int
        Code of the quantiser step.
    contexts : ContextNet
        As shipped.
    changes : Changes, optional
        Of the context network.
    seen : Seen, optional
        Gathers a sample of coefficients for `tuning.tuned`.
    """
    size, groups, found = step_of(step), prepared.groups, prepared.found
    if groups.film is None:
        coded = coefficients.encode(prepared.coefficients, groups.order, size, contexts, worth, changes, seen)
        return Coded(coded.data, coded.values)
    predictor = FilmPredictor(groups, prepared.coefficients, size, found, prepared.network)
    beforehand = Beforehand(predictor, usual_codes() if found is None else found.codes)
    coded = coefficients.encode(prepared.coefficients, groups.order, size, contexts, worth, changes, seen, beforehand)
    return Coded(predictor.finish() + coded.data, coded.values, Found(predictor.decided, predictor.searched_at, coded.codes))
