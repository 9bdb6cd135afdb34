"""`medfabric claim`: from a FHIR Claim or an X12 837 to its payment and 835."""

from admin.cli.claiming.asking import eligibility
from admin.cli.claiming.coordinating import confirm, forward, reexamine
from admin.cli.claiming.deciding import adjudicate, decide_appeal, pay, pend
from admin.cli.claiming.exchanging import remit, status
from admin.cli.claiming.filing import appeal, reconcile, replace, submit, supply, void
from admin.cli.claiming.seeing import list_, show, watch
from admin.cli.claiming.stating import authorize, coverage, key, provider, table
from admin.cli.frame import Group

group = Group(
    "claim",
    help="""Claims: submit, adjudicate, pay, appeal, watch.

    A provider files FHIR Claims or X12 837s with a payer, or a payer enters what reached it by
    another channel. Amounts, services and diagnoses go to the parties' private collection; the
    ledger sees handles, codes and commitments. Each claim is checked automatically, with reason
    codes (CARC, RARC) that every 835 carries. Ids can be shortened while they are unique.
    """,
    examples=[
        "medfabric claim coverage member.json --patient 7c1f… --as UnitedPayer/intake",
        "medfabric claim submit claim.json --patient 7c1f… --coverage 55d2… --evidence 91ab… \\",
        "    --label N --as GeneralHospital/billing",
        "medfabric claim adjudicate 7f3a --as UnitedPayer/adjudicator",
        "medfabric claim pay 7f3a --trace EFT-7 --as UnitedPayer/adjudicator",
        "medfabric claim remit --trace EFT-7 --profile partner.yaml -o EFT-7.835 \\",
        "    --as UnitedPayer/adjudicator",
        "medfabric claim show 7f3a --details --as GeneralHospital/billing",
        "medfabric claim watch --as UnitedPayer/intake",
    ],
)

for command in (
    *(submit, list_, show, watch, replace, supply, appeal, reconcile, void),
    *(adjudicate, pend, pay, decide_appeal),
    *(forward, reexamine, confirm),
    *(remit, status, eligibility),
    *(coverage, provider, authorize, table, key),
):
    group.add_command(command)
