"""Fixtures that several rooms share: one running consortium, and its people."""

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import phi
from tests.journeys.care import Care, running, write_network

# A test that is slow on a busy machine is not wrong: only its answer counts.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# A shell's background job ignores Ctrl-C, and so would every program that the tests start and
# interrupt: what is ignored here is ignored there.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("care"))
    with running(network):
        yield network


@pytest.fixture(scope="session")
def people(care: Care) -> Care:
    """The consortium with its people enrolled."""
    for name, role in (
        ("GeneralHospital/dr.lee", "clinician"),
        ("GeneralHospital/billing", "claims"),
        ("GeneralHospital/privacy", "privacy-officer"),
        ("CityClinic/dr.kim", "clinician"),
        ("UnitedPayer/adjudicator", "adjudicator"),
        ("UnitedPayer/intake", "claims"),
        ("PatientTrust/registrar", "service"),
        ("PatientTrust/auditor", "auditor"),
    ):
        care.enroll(name, role=role)
    return care


# --- after the tests: no patient's plaintext in anything that they left --------------------------

_BEGAN = pytest.StashKey[float]()
_FOUND = pytest.StashKey[list[str]]()
_SEARCHED = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """When this run began: temporary files that are older are somebody else's."""
    config.stash[_BEGAN] = time.time()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What our own code logs or prints while tests run is searched as it comes."""
    words = phi.search_bytes(report.capstdout.encode() + report.caplog.encode())
    if words and report.passed:
        _PRINTED.append(f"{report.nodeid} printed or logged {words[0]!r} of a patient")


_PRINTED: list[str] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ledgers, logs, events, metrics and temporary files are searched; a find fails the run."""
    if hasattr(session.config, "workerinput"):
        return  # the one who started the workers looks into their folders too
    factory: Any = getattr(session.config, "_tmp_path_factory", None)
    if factory is None or getattr(factory, "_basetemp", None) is None:
        return
    began = session.config.stash[_BEGAN]
    temporary = Path(tempfile.gettempdir()).glob("medfabric*")
    own = [path for path in temporary if path.is_dir() and path.stat().st_mtime >= began]
    searched, lines = phi.search_folders([factory.getbasetemp(), *own])
    session.config.stash[_SEARCHED] = searched
    session.config.stash[_FOUND] = lines = [*lines, *_PRINTED]
    if lines:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what the search found."""
    searched, lines = config.stash.get(_SEARCHED, 0), config.stash.get(_FOUND, [])
    if searched or lines:
        told = f"searched {searched / 1e6:.1f} MB for patients' plaintext: "
        terminalreporter.write_line(told + (f"{len(lines)} FOUND" if lines else "none"))
    for line in lines:
        terminalreporter.write_line(f"  {line}", red=True)
