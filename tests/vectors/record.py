"""Record golden vectors from the nginx that is installed: `python tests/vectors/record.py --count 200 --seed 1`.

Writes `nginx-VERSION-recorded.json.gz` beside this file. Only nginx is asked; the lab's own rule has no part in it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from vectors.lockstep import COMMON, Lockstep, Vector, scenario  # noqa: E402

from claude_lab.nginx import Build, find  # noqa: E402

BATCH = 200
NOTE = (
    "client_bytes[k] is how many bytes (head included, TLS removed) the client held after the upstream wrote pieces[k] "
    "and nginx had worked through it; the last entry is after the upstream's end. sha256 is of all of the client's "
    "bytes with the Date set to the epoch."
)


def recorded(count: int, seed: int, build: Build) -> list[Vector]:
    """Play so many scenarios, each twice; keep those that come out the same, as all should."""
    kept = []
    for start in range(0, count, BATCH):
        batch = [scenario(number, seed) for number in range(start, min(count, start + BATCH))]
        with Lockstep(batch, build) as lockstep:
            for vector in batch:
                lockstep.run(vector)
                first = list(vector.client_bytes)
                lockstep.run(vector)
                if first == vector.client_bytes:
                    kept.append(vector)
                else:
                    print(f"scenario {vector.id} was not the same twice; left out", file=sys.stderr)
    return kept


def main() -> None:
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    build = find()
    if build is None:
        sys.exit("No nginx is installed.")
    vectors = recorded(options.count, options.seed, build)
    version = ".".join(map(str, build.version))
    path = HERE / f"nginx-{version}-recorded.json.gz"
    data = {"nginx": version, "build": build.text, "note": NOTE, "common": COMMON, "seed": options.seed}
    data["vectors"] = [vector.as_json() for vector in vectors]
    path.write_bytes(gzip.compress(json.dumps(data).encode(), 9, mtime=0))
    print(f"{len(vectors)} vectors, {path.stat().st_size:,} bytes in {path.name}")


if __name__ == "__main__":
    main()
