"""What pyproject.toml cannot say: a wheel carries folders of the checkout that are not packages.

They lie in texreward/shipped/ under the same names, where `texgen.shipped` finds them.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("config", "profiles", "models/miniature")


class BuildWithShipped(build_py):
    """Copies the shipped folders beside the packages; an editable installation reads them in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in SHIPPED:
            target = Path(self.build_lib, "texreward", "shipped", name)
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree(name, target)


setup(cmdclass={"build_py": BuildWithShipped})
