"""What pyproject.toml cannot say: conf/ and priors/ stay at the top of the repository and are installed inside recon/."""

from setuptools import find_packages, setup

CARRIED = {"recon._conf": "conf", "recon._priors": "priors"}

setup(packages=[*find_packages(include=["recon", "recon.*"]), *CARRIED], package_dir=CARRIED)
