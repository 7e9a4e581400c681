"""Reading fields of known length from the front of a string of bytes."""

from __future__ import annotations

from microfield.errors import FormatError


class ByteReader:
    """Takes bytes from the front and refuses to read past the end.

    Parameters
    ----------
    data : bytes
        What is read.
    name : str
        What the bytes are, as the message of an error calls them, such as "its head".
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self._name, self._at = data, name, 0

    def next(self, n: int) -> bytes:
        """The next ``n`` bytes.

        Raises
        ------
        FormatError
            If fewer are left.
        """
        if self._at + n > len(self._data):
            raise FormatError(f"a part ends within {self._name}.")
        self._at += n
        return self._data[self._at - n : self._at]

    def rest(self) -> bytes:
        """All bytes that were not taken."""
        return self._data[self._at :]
