"""Who exchanges X12 with whom: names, addresses and identifiers that no ledger has.

A profile is a YAML or JSON file that both stay with:

    sender: {id: UNITEDPAYER}
    receiver: {id: GENERALHOSP}
    payer: {name: United Payer, taxId: "371234567", street: 1 Plaza, city: Springfield, state: IL,
            zip: "62701", contact: EDI desk, phone: "2175550100"}
    payees: {"1555001019": {name: General Hospital, taxId: "379876543"}}
    members: {"<patient handle>": {id: UP-7731, last: Hart, first: Amelia}}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import yaml

from admin.errors import input_error
from admin.fhir.reading import SourceFile
from admin.x12.writer import Address
from chaincode import canonical
from chaincode.errors import InvalidArgument

EXAMPLE = "see its form: medfabric claim remit --help"


@dataclass(frozen=True, slots=True)
class Payer:
    """The payer as an 835 names it (loop 1000A)."""

    name: str
    tax_id: str
    street: str
    city: str
    state: str
    zip: str
    contact: str
    phone: str


@dataclass(frozen=True, slots=True)
class Payee:
    """A provider as an 835 names it (loop 1000B)."""

    name: str
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A patient as the payer knows them: member id and name. Neither is on any ledger."""

    id: str
    last: str = ""
    first: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What stands in a profile. `members` is by the patients' handles, `payees` by NPI."""

    payer: Payer
    sender: Address
    receiver: Address
    payees: dict[str, Payee] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    filing: str = "ZZ"
    production: bool = False

    def payee(self, npi: str) -> Payee:
        """The provider with this NPI; by its number if nobody named it."""
        return self.payees.get(npi, Payee(npi))

    def member(self, patient: str) -> Member:
        """The member of this handle, under the handle itself if nobody told who it is."""
        return self.members.get(patient, Member(patient))


def read_profile(source: SourceFile) -> Profile:
    """Return the profile in a file. Raises FaultError, naming the field."""
    try:
        value = yaml.safe_load(source.raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark else ""
        raise input_error("not YAML", EXAMPLE, f"{source.name}{at}") from None
    try:
        return canonical.decode(Profile, json.dumps(value, default=str).encode(), "profile")
    except InvalidArgument as error:
        raise input_error(f"no profile for X12: {error.text}", EXAMPLE, source.name) from None
