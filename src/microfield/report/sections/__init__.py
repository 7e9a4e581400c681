"""The sections of the comparison page, one module each."""
