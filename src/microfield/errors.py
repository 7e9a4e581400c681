"""The errors a user can meet: each message is one sentence that says what was wrong and what to do."""


class MicrofieldError(Exception):
    """Base of all errors microfield raises on purpose."""


class InputError(MicrofieldError, ValueError):
    """The image, an option or a combination of them cannot be used; nothing was written."""


class UsageError(InputError):
    """The call itself is wrong (an unknown method, option or budget), whatever the image."""


class LabelsError(InputError):
    """The image looks like object labels or a mask, which lossy compression would spoil; not an image that is broken."""


class NotFiniteError(InputError):
    """An image to compare holds NaN or infinity, which have no error."""


class BudgetError(MicrofieldError, ValueError):
    """The asked size or quality cannot be reached; the message names what can."""


class FormatError(MicrofieldError, ValueError):
    """The bytes are not a readable microfield file: damaged, truncated, malicious or from a newer version."""


class MissingExtraError(MicrofieldError, ImportError):
    """An optional part of microfield is not installed; the message names the extra."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional part: pip install 'microfield[{extra}]'.")
