"""The guides' commands do what they show, on one network that is started once for all of them.

A guide begins in the network's folder, with the demo's patients beside `network.yaml` and nobody
chosen to act. Each enrols its own people under names of its own, so that they run in any order. The
operator's guide brings a network of its own up, and takes it down.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guides.guide import DOCS, ROOT, Step, read_steps, run_document
from tests.journeys.care import DATA, Care, running, write_network

GUIDES = sorted(path.stem for path in DOCS.glob("*.md"))
ALONE = "operator"
AUDIENCES = {
    *("operator", "org-admin", "payer", "provider"),
    *("patient-advocate", "auditor", "integrator"),
}
NODE_MODULES = ROOT / "tests" / "conformance" / "node" / "node_modules"


def test_every_guide_is_for_somebody_and_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in GUIDES:
        assert name in AUDIENCES
        assert f"docs/guides/{name}.md" in readme, name


def test_a_guide_reads_its_files_and_commands() -> None:
    text = (
        "```python a.py\nprint(1)\n```\n"
        "```console\n$ python a.py \\\n    --twice\n1\n1\n$ true\n```\n"
        "```sh\nnever run\n```\n"
    )
    assert read_steps(text) == [
        Step("python a.py \\\n    --twice", ("1", "1"), (("a.py", "print(1)\n"),)),
        Step("true", ()),
    ]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    care = write_network(tmp_path_factory.mktemp("guides"))
    if NODE_MODULES.is_dir():
        (care.folder / "node_modules").symlink_to(NODE_MODULES)
    with running(care):
        yield care


@pytest.mark.network
@pytest.mark.parametrize("name", [name for name in GUIDES if name != ALONE])
def test_a_guide_does_what_it_shows(name: str, network: Care) -> None:
    (network.network / "identity").unlink(missing_ok=True)
    text = (DOCS / f"{name}.md").read_text()
    if re.search(r"^\$ node ", text, re.MULTILINE) and not _node_is_here():
        text = re.sub(r"^\$ node .*\n(?:(?!\$ |```).*\n)*", "", text, flags=re.MULTILINE)
    assert len(run_document(text, network.folder)) > 5


def _node_is_here() -> bool:
    """Whether Node and the official client are installed; without, its commands are left out."""
    return shutil.which("node") is not None and NODE_MODULES.is_dir()


@pytest.mark.network
@pytest.mark.skipif(ALONE not in GUIDES, reason="there is no operator's guide")
def test_the_operators_guide_does_what_it_shows(tmp_path: Path) -> None:
    for file in DATA.glob("*.*json"):
        shutil.copy(file, tmp_path)
    try:
        run_document((DOCS / f"{ALONE}.md").read_text(), tmp_path, after=_free_the_ports)
    finally:
        Care(tmp_path).run("network", "down", code=None)
    assert not list(tmp_path.glob(".medfabric/*")), "the guide ends with everything taken down"


def _free_the_ports(step: Step) -> tuple[str, ...]:
    if not step.command.startswith("medfabric network init"):
        return ()
    return (f"{sys.executable} -c 'import tests.test_readme as t; t.free_ports()'",)
