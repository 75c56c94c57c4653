"""Scaling out: the documented recipes, on two processes of this machine."""

import os
import re
import sys
import textwrap
from pathlib import Path
from subprocess import run

import numpy as np
import pytest

from claude_lab.scenario import Scenario
from claude_lab.sweeps import sweep

DOCS = Path(__file__).parents[1] / "docs" / "sweeps.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)


def block_with(word: str) -> str:
    """The documentation's code block that has a word."""
    return next(block for block in BLOCKS if word in block)


@pytest.mark.parametrize("word", ["LocalCluster", "ProcessPoolExecutor"])
def test_the_documented_recipe_gives_the_same_bits(word: str, tmp_path: Path):
    """The recipe runs as printed, as a script of its own, and its table equals the one made here."""
    if word == "LocalCluster":
        pytest.importorskip("distributed")
    script = tmp_path / "recipe.py"
    save = "    import numpy\n    numpy.save('found.npy', grid.metrics)\n"
    script.write_text(textwrap.dedent(block_with(word)) + save)

    here = {**os.environ, "PYTHONPATH": str(DOCS.parents[1])}
    ended = run(
        [sys.executable, str(script)], cwd=tmp_path, env=here, capture_output=True, text=True, timeout=120, check=False
    )

    assert ended.returncode == 0, ended.stderr
    here = sweep(Scenario.bursty(rpm=50), max_retries=range(9), base_delay=[0.5, 1.0, 2.0, 5.0], seeds=5)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), here.metrics)


def test_the_other_examples_of_the_page_run(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch):
    """Every other block runs, one after the other, in one namespace."""
    monkeypatch.chdir(tmp_path)
    toml = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    Path("experiment.toml").write_text(toml[1])
    names: dict[str, object] = {}

    for block in BLOCKS:
        if "__main__" not in block:
            exec(block, names)

    assert "MAX_RETRIES=" in capsys.readouterr().out
