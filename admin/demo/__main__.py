"""`python -m admin.demo`: the story on a fresh network in `.demo`; `--clean` takes it away again.

The network stays up at the end, so that one can go on by hand. A network that an earlier run left
is replaced.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path

from admin.demo.stage import Stage, StageError
from admin.demo.story import tell

FOLDER = Path(".demo")
NETWORK = "network.yaml"
MADE = ("visit.json", "visit.proof.json", "visit.block")

NEXT = """
The network is still up. Go on by hand:

    cd {folder} && export PATH={programs}:$PATH
    medfabric consent explain {patient} --purpose TREAT --as CityClinic/dr.kim
    medfabric consent grant amelia-hart.consent.json --patient {patient} --as PatientTrust/amelia
    medfabric record request {record} --purpose TREAT --as CityClinic/dr.kim
    medfabric ledger verify
    medfabric block list
    medfabric network logs peer0.hospital -f
    medfabric network down

Take everything away again: make demo-clean
"""


def main() -> int:
    """Tell the story, or clean up after it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m admin.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it plays [.demo]")
    parser.add_argument("--clean", action="store_true", help="take the network down, delete it")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    if arguments.clean:
        return _clean(folder)
    _set_up(folder)
    begun = time.perf_counter()
    stage = Stage(folder)
    try:
        ending = tell(stage)
    except StageError as failure:
        sys.stdout.write(f"\n✗ {failure}\n")
        return 1
    seconds = time.perf_counter() - begun
    sys.stdout.write(f"\n✓ {stage.chapter} chapters in {seconds:.0f} s.\n")
    programs = Path(sys.executable).parent
    told = {"folder": arguments.folder, "programs": programs}
    sys.stdout.write(NEXT.format(**told, patient=ending.patient, record=ending.record))
    return 0


def _set_up(folder: Path) -> None:
    """The folder holds the example's network file and the patients, and no earlier network."""
    if (folder / NETWORK).exists():
        _clean(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("network.topology") / "examples" / "care.yaml") as example:
        shutil.copy(example, folder / NETWORK)
    with as_file(files("admin.demo") / "data") as data:
        for name in _names():
            shutil.copy(data / name, folder / name)


def _names() -> list[str]:
    """Return the names of the patients' files."""
    data = (entry.name for entry in (files("admin.demo") / "data").iterdir())
    return sorted(name for name in data if name.endswith((".json", ".ndjson")))


def _clean(folder: Path) -> int:
    if (folder / NETWORK).exists():
        done = subprocess.run(
            [sys.executable, "-m", "admin.cli", "network", "down", "--wipe", "--yes", "-q"],
            cwd=folder,
            check=False,
        )
        if done.returncode:
            return done.returncode
    # Only what the story made: the folder may be anybody's.
    for name in (*_names(), NETWORK, *MADE):
        (folder / name).unlink(missing_ok=True)
    for left in (folder / ".medfabric", folder):
        with contextlib.suppress(OSError):
            left.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
