"""The plot: one visit, from consent to an auditor's proof, across four organisations."""

from dataclasses import dataclass

from admin.demo.stage import Stage
from admin.output import shorten

REFUSED = 4


@dataclass(frozen=True, slots=True)
class Ending:
    """What the story left on the ledger: the patient's handle and the record's."""

    patient: str
    record: str


def tell(stage: Stage) -> Ending:
    """The whole story is told; every command of it ended as it should."""
    _bring_up(stage)
    patient = _enrol(stage)
    consent = _consent(stage, patient)
    record = _anchor(stage, patient)
    _share(stage, record)
    _refuse(stage, record)
    _claims(stage, patient, record)
    _revoke(stage, patient, consent, record)
    _audit(stage, patient, record)
    return Ending(patient, record)


def _bring_up(stage: Stage) -> None:
    stage.tell(
        "Bring up the consortium",
        "Two providers, a payer and a patient trust, each with its own peer, certificate "
        "authority and chaincode server; one orderer; one channel; one command.",
    )
    stage.run("network", "up")
    stage.run("network", "status")


def _enrol(stage: Stage) -> str:
    stage.tell(
        "Enrol people",
        "Certificates from each organisation's own authority; attributes say what they may do.",
    )
    for name, role in (
        ("GeneralHospital/dr.lee", "clinician"),
        ("GeneralHospital/billing", "claims"),
        ("CityClinic/dr.kim", "clinician"),
        ("UnitedPayer/adjudicator", "adjudicator"),
        ("UnitedPayer/intake", "claims"),
        ("PatientTrust/registrar", "service"),
        ("PatientTrust/auditor", "auditor"),
    ):
        stage.run("identity", "enroll", name, "--attr", f"role={role}")
    patient = stage.run("patient", "register", "--as", "PatientTrust/registrar")
    stage.run(
        "identity", "enroll", "PatientTrust/amelia",
        "--attr", "role=patient", "--attr", f"patient={patient}",
    )  # fmt: skip
    return patient


def _consent(stage: Stage, patient: str) -> str:
    stage.tell(
        "The patient consents to treatment and payment",
        "From a FHIR Consent. The ledger keeps its rules under random handles; the file stays "
        "here.",
    )
    stage.run(
        "consent", "grant", "amelia-hart.consent.json",
        "--patient", patient, "--as", "PatientTrust/amelia",
    )  # fmt: skip
    listed = stage.run("consent", "list", patient, "--as", "PatientTrust/amelia")
    return listed.splitlines()[-1].split()[0]


def _anchor(stage: Stage, patient: str) -> str:
    stage.tell(
        "The hospital seals, stores and anchors the visit",
        "A FHIR Bundle, encrypted for its readers. The ledger gets a salted commitment to it.",
    )
    record = stage.run(
        "record", "seal", "amelia-hart.bundle.json",
        "--patient", patient, "--label", "N", "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    stage.run("record", "anchor", shorten(record, 12), "--as", "GeneralHospital/dr.lee")
    return record


def _share(stage: Stage, record: str) -> None:
    stage.tell(
        "The clinic requests access and opens the record",
        "The chaincode decides on the patient's consent; the hospital's exchange releases the key.",
    )
    access = stage.run(
        "record", "request", record, "--purpose", "TREAT", "--as", "CityClinic/dr.kim"
    )
    stage.run("record", "open", access, "-o", "visit.json", "--as", "CityClinic/dr.kim")


def _refuse(stage: Stage, record: str) -> None:
    stage.tell(
        "What the patient did not consent to is denied, and recorded",
        "Research was never permitted. The denial is a transaction like any other.",
    )
    stage.run(
        "record", "request", record, "--purpose", "HRESCH", "--as", "CityClinic/dr.kim",
        code=REFUSED,
    )  # fmt: skip


def _claims(stage: Stage, patient: str, record: str) -> None:
    coverage = _state_facts(stage, patient)
    stage.tell(
        "The hospital submits a claim, and the payer decides and pays it",
        "Its evidence is the anchored visit. Services, diagnoses and amounts go to the collection "
        "that hospital and payer share; the ledger sees handles, codes and commitments.",
    )
    filed = (
        "--patient", patient, "--coverage", coverage, "--evidence", shorten(record, 12),
        "--label", "N", "--as", "GeneralHospital/billing",
    )  # fmt: skip
    claim = _claim_in(stage.run("claim", "submit", "amelia-hart.claim.json", *filed))
    stage.run("claim", "adjudicate", claim, "--as", "UnitedPayer/adjudicator")
    stage.run("claim", "pay", claim, "--trace", "EFT-1001", "--as", "UnitedPayer/adjudicator")
    stage.run("claim", "show", claim, "--details", "--as", "GeneralHospital/billing")
    stage.tell(
        "The payer submits its own intake in bulk",
        "Claims that reached it by another channel. Their details stay in the payer's own "
        "collection.",
    )
    stage.run(
        "claim", "submit", "intake.ndjson", "--patient", patient, "--coverage", coverage,
        "--provider", "CityClinic", "--label", "N", "--as", "UnitedPayer/intake",
    )  # fmt: skip
    stage.tell(
        "A duplicate is caught",
        "The same services under another claim number. Keyed fingerprints meet on the ledger, "
        "and no clerk needs to look: CARC 18.",
    )
    again = _claim_in(stage.run("claim", "submit", "amelia-hart.claim-again.json", *filed))
    stage.run("claim", "adjudicate", again, "--as", "UnitedPayer/adjudicator")
    stage.run("claim", "list", "--as", "UnitedPayer/adjudicator")


def _state_facts(stage: Stage, patient: str) -> str:
    stage.tell(
        "The payer states what it pays by",
        "Its table of rules is public here. Who is covered and who may bill stays in its own "
        "collection, under commitments that its decisions are checked against.",
    )
    payer = ("--as", "UnitedPayer/intake")
    stage.run("claim", "table", "policy-table.json", "--publish", *payer)
    for npi in ("1555001019", "1555002025"):
        stage.run("claim", "provider", npi, "--from", "2020-01-01", *payer)
    return stage.run(
        "claim", "coverage", "amelia-hart.bundle.json", "--patient", patient,
        "--coinsurance", "20", *payer,
    )  # fmt: skip


def _claim_in(text: str) -> str:
    """Return the claim's handle, shortened as the command prints it."""
    return text.split()[2]


def _revoke(stage: Stage, patient: str, consent: str, record: str) -> None:
    stage.tell(
        "The patient revokes",
        "From now on. What was decided before stays recorded as it was decided.",
    )
    stage.run(
        "consent", "revoke", shorten(consent, 12),
        "--patient", patient, "--yes", "--as", "PatientTrust/amelia",
    )  # fmt: skip
    stage.run(
        "record", "request", record, "--purpose", "TREAT", "--as", "CityClinic/dr.kim",
        code=REFUSED,
    )  # fmt: skip


def _audit(stage: Stage, patient: str, record: str) -> None:
    stage.tell("The trail tells all of it", "To the patient, and to auditors.")
    stage.run("audit", "trail", patient, "--as", "PatientTrust/amelia")
    stage.tell(
        "An auditor verifies the record offline",
        "File, proof and block; trusting nothing but the channel's genesis block.",
    )
    stage.run(
        "record", "prove", shorten(record, 12), "--proof", "visit.proof.json",
        "--block", "visit.block", "--as", "GeneralHospital/dr.lee",
    )  # fmt: skip
    stage.run(
        "record", "verify", "visit.json", "--proof", "visit.proof.json", "--block", "visit.block",
        "--trust", ".medfabric/care/channels/care.block",
    )  # fmt: skip
