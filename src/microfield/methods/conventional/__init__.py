"""Conventional codecs behind the same seam: what a user might pick instead, fed as well as we know how.

``intensities`` stretches grey levels, ``sheets`` orders the axes for a codec, ``base`` is the method they all share;
``video``, ``stills``, ``volumes`` and ``downsample`` are the codecs.
"""
