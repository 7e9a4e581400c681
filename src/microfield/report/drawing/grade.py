"""Grades of the verdict, and the badge that shows one."""

from __future__ import annotations

from enum import IntEnum


class Grade(IntEnum):
    """How good a number, or a use, is; better grades are larger, and what was not judged is above them all."""

    NOT_ADVISED = 0
    WITH_CARE = 1
    FINE = 2
    NOT_JUDGED = 3

    @property
    def words(self) -> str:
        """The grade as the page says it."""
        return self.name.replace("_", " ").lower()


def badge(grade: Grade) -> str:
    """A grade as a coloured word with a sign, so that it does not depend on colour."""
    sign = {Grade.FINE: "✓", Grade.WITH_CARE: "!", Grade.NOT_ADVISED: "✕", Grade.NOT_JUDGED: "–"}[grade]
    return f'<span class="badge {grade.name.lower().replace("_", "-")}"><i aria-hidden="true">{sign}</i> {grade.words}</span>'
