"""The method `hybrid`: a codec prior, and a residual stage that corrects what it decodes to."""
