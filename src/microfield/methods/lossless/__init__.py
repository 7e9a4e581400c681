"""The method `lossless`: exact copies, by prediction and the compressors of the standard library."""
