"""Microfield files over HTTP as plain OME-Zarr, for viewers that know nothing of microfield: ``microfield serve DIR``."""
