"""Conventional codecs as methods, so that a file of theirs opens, slices and is sized like any other.

``intensities`` stretches grey levels to 0..1, ``sheets`` orders the axes for a codec, ``base`` is the method that all share;
``video``, ``stills``, ``volumes`` and ``downsample`` are the codecs.
"""
