"""Installs the folders of the checkout below one name; pyproject.toml holds everything else."""

from setuptools import find_packages, setup

FOLDERS = ("training", "kernels", "export", "runtime", "benchmarks")

setup(
    package_dir={"shadowdiffusion": "."},
    packages=[f"shadowdiffusion.{name}" for name in find_packages(include=[f"{folder}*" for folder in FOLDERS])],
)
