# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Build MinkowskiEngine 0.5.4 for the CPU and install it beside the Python that runs this.

Its last release is a source package of 2021. It gets the options for the CPU and for OpenBLAS,
without which its set-up asks a numpy that is no longer there; and where it imports `Sequence` from
a module that has had none since Python 3.10, it is told the right one. Takes about 17 minutes of
one core, and 2.5 GB of memory for each of MAX_JOBS compilers; must be repeated when torch changes.
"""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile

REQUIREMENT = 'MinkowskiEngine==0.5.4'
OPTIONS = ('--cpu_only', '--blas=openblas')
WRONG_IMPORT = re.compile(r'^from collections import Sequence(?:, (.+))?$', re.MULTILINE)


def run(what: str, *command: str | Path) -> None:
    """Run one step; exit where it fails."""
    print(f'minkowski: {what}', flush=True)
    environment = {
        'MAX_JOBS': '2', **os.environ,
        # The package's set-up runs the first pip on the PATH.
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
    }
    if subprocess.run(command, env=environment).returncode != 0:
        sys.exit(f'minkowski: this step failed: {what}')


def install_system_packages() -> None:
    """Install the Debian packages that are missing, or exit with the command that does it."""
    found = {'g++': shutil.which('g++'),
             'libopenblas-dev': any(Path('/usr').glob('lib*/**/libopenblas.so'))}
    packages = [package for package, there in found.items() if not there]
    if not packages:
        return
    install = ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', *packages]
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        sys.exit('minkowski: system packages are missing, install them with\n'
                 f'    sudo apt-get update && sudo {" ".join(install)}')
    run('system packages: ' + ' '.join(packages), 'apt-get', 'update', '-qq')
    run('installing them', 'env', 'DEBIAN_FRONTEND=noninteractive', *install)


def correct_imports(package: Path) -> int:
    """Import `Sequence` from collections.abc in the installed files; return how many changed."""
    changed = 0
    for file in package.rglob('*.py'):
        text = file.read_text()
        corrected = WRONG_IMPORT.sub(
            lambda line: 'from collections.abc import Sequence'
            + (f'\nfrom collections import {line[1]}' if line[1] else ''), text)
        if corrected != text:
            file.write_text(corrected)
            changed += 1
    return changed


def main() -> None:
    """Build, install, correct, and import it once."""
    install_system_packages()
    pip = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
    with tempfile.TemporaryDirectory() as folder:
        # A wheel in pip's cache may have been built for another torch.
        run(f'building {REQUIREMENT}, which takes a while', *pip, 'wheel', '--no-deps',
            '--no-cache-dir', '--no-build-isolation', '--wheel-dir', folder,
            *(f'--config-settings=--global-option={option}' for option in OPTIONS), REQUIREMENT)
        run('installing it', *pip, 'install', '--no-deps', '--force-reinstall',
            *Path(folder).glob('*.whl'))
    changed = correct_imports(Path(sysconfig.get_path('platlib')) / 'MinkowskiEngine')
    print(f'minkowski: corrected the imports of {changed} files')
    run('looking at the result', sys.executable, '-c',
        'import MinkowskiEngine; print("MinkowskiEngine", MinkowskiEngine.__version__)')


if __name__ == '__main__':
    main()
