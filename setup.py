"""Builds the compiled core: ``ext/*.pyx`` become ``dance._dsp`` and so on."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

# Elsewhere sine and logarithm are in a library of their own, which Windows does not have.
MATHS = [] if sys.platform == "win32" else ["m"]
# Python's own flags ask for debugging symbols: five megabytes, with the paths of the machine that built them.
COMPILE = ["-O3", "-fno-math-errno", "-ffp-contract=off", "-g0"]

setup(
    packages=[*find_packages("engine", include=["dance", "dance.*"]), "dance.released"],
    package_dir={"": "engine"},
    ext_modules=cythonize(
        [
            Extension("dance._dsp", ["ext/_dsp.pyx"], libraries=MATHS, extra_compile_args=COMPILE),
            Extension("dance._context", ["ext/_context.pyx"], libraries=MATHS, extra_compile_args=COMPILE),
            Extension("dance._ring", ["ext/_ring.pyx"], extra_compile_args=COMPILE),
            Extension("dance._tcn", ["ext/_tcn.pyx"], libraries=MATHS, extra_compile_args=COMPILE),
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
