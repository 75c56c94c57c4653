"""A server environment that lacks one package: an interpreter of its own beside links to everything else.

The server can neither import the package nor serve its files, as on a hub whose image has JupyterLab and whose users
bring their own kernels. Nothing is downloaded: it takes a tenth of a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

SPEC = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "language": "python"}


def environment_without(package: str, place: Path) -> str:
    """Make the environment at `place` and return its interpreter; its one kernel runs in this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    link_all(Path(sysconfig.get_path("purelib")), packages, but=package)
    share = Path(sys.prefix, "share", "jupyter")
    link_all(share / "labextensions", place / "share" / "jupyter" / "labextensions", but=package)
    link_all(share, place / "share" / "jupyter", but="labextensions", also_but="kernels")
    kernel = place / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({**SPEC, "display_name": "Python 3"}))
    return str(python)


def link_all(source: Path, target: Path, *, but: str, also_but: str = "") -> None:
    """Link each entry of a folder into another, but those of one package, and no `.pth` that could bring it back."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        name = entry.name.partition("-")[0].partition(".")[0]
        if name not in (but, also_but) and entry.suffix != ".pth":
            (target / entry.name).symlink_to(entry)
