"""Learned transform codecs: the factorised prior of Balle et al. 2018 and the mean-scale hyperprior of Minnen et al. 2018."""
