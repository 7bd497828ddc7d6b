"""Packages of the wheel: those of recon/, and conf/ and priors/ of the top of the repository inside it."""

from setuptools import find_packages, setup

CARRIED = {"recon._conf": "conf", "recon._priors": "priors"}

setup(packages=[*find_packages(include=["recon", "recon.*"]), *CARRIED], package_dir=CARRIED)
