"""Builds the compiled core: ``ext/*.pyx`` become ``dance._dsp`` and so on."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

# Sine and logarithm are in a library of their own everywhere but on Windows.
MATHS = [] if sys.platform == "win32" else ["m"]
# Python's own flags ask for debugging symbols: five megabytes, with the paths of the machine that built them.
COMPILE = ["-O3", "-fno-math-errno", "-ffp-contract=off", "-g0"]

setup(
    packages=[*find_packages("engine", include=["dance", "dance.*"]), "dance.released"],
    package_dir={"": "engine"},
    ext_modules=cythonize(
        [
            Extension(f"dance.{name}", [f"ext/{name}.pyx"], libraries=MATHS, extra_compile_args=COMPILE)
            for name in ("_dsp", "_context", "_ring", "_tcn")
        ],
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
        },
    ),
)
