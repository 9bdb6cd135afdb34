"""`medfabric record`: sealed records, from a file to another organisation's screen."""

from admin.cli.frame import Group
from admin.cli.recording.batching import anchor_batch, batches
from admin.cli.recording.ending import erase, expire, retain
from admin.cli.recording.keeping import (
    anchor,
    release,
    rewrap,
    rotate,
    seal,
    supersede,
    tidy,
    withdraw,
)
from admin.cli.recording.proving import canonical, place, prove, verify
from admin.cli.recording.seeing import history, list_
from admin.cli.recording.sharing import accesses, open_, receipts, request, revoke
from admin.cli.watching import build_watch

group = Group(
    "record",
    help="""Records: seal, anchor, request, release, verify.

    A record is sealed for its organisation and lies in that organisation's store. The ledger
    carries a salted commitment to it under a random handle. Others request access; the decision
    on the patient's consent is recorded, and the custodian's exchange releases the key.
    """,
    examples=[
        "medfabric record seal visit.json --patient 7c1f… --as GeneralHospital/dr.lee",
        "medfabric record anchor 91ab… --as GeneralHospital/dr.lee",
        "medfabric record anchor-batch visits/ --patient 7c1f… --handles visits.csv",
        "medfabric record request 91ab… --purpose TREAT --as CityClinic/dr.kim",
        "medfabric record open 4f02… -o visit.json --as CityClinic/dr.kim",
        "medfabric record verify visit.json --proof p.json --block b.block --trust care.block",
    ],
)

for command in (
    *(seal, anchor, supersede, anchor_batch, batches),
    *(request, open_, release, revoke, accesses, receipts),
    *(list_, history, place, prove, verify, canonical),
    *(withdraw, rotate, rewrap, retain, expire, erase, tidy),
):
    group.add_command(command)

group.add_command(
    build_watch(
        "records",
        ("records.",),
        own_only=True,
        example=[
            "medfabric record watch --as GeneralHospital/dr.lee",
            "medfabric record watch --event AccessDecided --checkpoint asked.json --json",
        ],
    )
)
