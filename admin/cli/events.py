"""`medfabric events`: what happens on the channel, for people and for programs."""

from admin.cli.context import Context
from admin.cli.forwarding import forward, redeliver, secret
from admin.cli.frame import Group, with_context
from admin.cli.watching import build_watch
from admin.output import Output

group = Group(
    "events",
    help="""Events: list their kinds, watch, forward to a webhook.

    Every change on the channel sets one event with handles and codes, never health information.
    docs/events.md tells each with its fields.
    """,
    examples=[
        "medfabric events list",
        "medfabric events watch --event 'consent.*' --as GeneralHospital/privacy",
        "medfabric events forward --to https://hooks.hospital.example/medfabric \\",
        "    --secret-file hook.secret --checkpoint hook.json --as GeneralHospital/integration",
    ],
)

for command in (forward, redeliver, secret):
    group.add_command(command)
group.add_command(
    build_watch(
        "the channel",
        ("",),
        example=[
            "medfabric events watch --as GeneralHospital/dr.lee",
            "medfabric events watch --event 'claims.*' --from-block 0 --json",
        ],
    )
)


@group.command("list", examples=["medfabric events list", "medfabric events list --json"])
@with_context
def list_(context: Context) -> None:
    """The kinds of events, what each means, and the fields of its payload (--json)."""
    from admin.events.catalogue import describe_payload
    from chaincode.events import CATALOGUE

    def human(output: Output) -> None:
        output.table(("event", "meaning"), [(kind.name, kind.meaning) for kind in CATALOGUE])

    wire = [
        {
            "name": kind.name,
            "meaning": kind.meaning,
            "by": kind.by,
            "orderedBy": kind.subject,
            "fields": describe_payload(kind.payload),
        }
        for kind in CATALOGUE
    ]
    context.output.result(wire, human)
