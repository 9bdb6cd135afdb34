"""The 837s of one submission, and the answers to them: a 999 for each file's form, 277CA for its
claims.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from admin.cli.claiming.answers import (
    AnswerFile,
    control_number,
    validate_target,
    write_text,
)
from admin.cli.context import Context
from admin.errors import ExitCode

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Submitted
    from admin.procedures.claims.sources import ClaimSource
    from admin.x12.claims import Told837
    from admin.x12.claimstatus import Answered
    from admin.x12.intake import Intake837
    from admin.x12.segments import Segment
    from admin.x12.writer import Address

AT_ONCE = 5_000
"""Claims in one 277CA; as many as the guides advise for one 837."""
NOTES_SHOWN = 3


class X12Desk:
    """Sees the 837s of one command, and acknowledges them in files.

    `ack` is where the 999 goes and `claim_ack` where the 277CA goes, None if nobody asked for it.
    """

    def __init__(
        self, context: Context, ack: str | None, claim_ack: str | None, *, whole: bool
    ) -> None:
        self._context = context
        self._ack = ack
        self._whole = whole
        self._seen: list[tuple[str, Intake837]] = []
        self._claims = ClaimAnswers(context, claim_ack) if claim_ack else None

    def see(self, name: str, intake: "Intake837") -> None:
        """One file was read."""
        self._seen.append((name, intake))
        if self._claims is not None and intake.interchanges:
            self._claims.open_file(name, intake.interchanges[0].isa)
        notes = intake.notes
        if notes:
            more = f" (and {len(notes) - NOTES_SHOWN} more)" if len(notes) > NOTES_SHOWN else ""
            self._context.output.note(f"{name}: {', '.join(notes[:NOTES_SHOWN])}{more}")

    def acknowledge(self) -> None:
        """The 999 is in its file, if one was asked for and there was an interchange to answer."""
        if not self._ack or not any(intake.interchanges for _, intake in self._seen):
            return
        from admin.x12.acknowledgement import build_acknowledgements
        from admin.x12.writer import build_interchange

        texts: list[str] = []
        now = datetime.now(UTC)
        for _, intake in self._seen:
            sets = build_acknowledgements(intake, whole=self._whole)
            if not sets:
                continue
            isa = intake.interchanges[0].isa
            sender, receiver = _answering(isa)
            texts.append(
                build_interchange(
                    sets, "FA", sender, receiver,
                    at=now, control=control_number(now) + len(texts), production=isa[15] == "P",
                )
            )  # fmt: skip
        write_text(self._ack, "".join(texts))
        self._context.output.note(f"✓ acknowledgement (999) in {self._ack}")

    def pass_on(self, sources: "Iterable[ClaimSource]") -> "Iterator[ClaimSource]":
        """Yield the claims, and remember what an acknowledgement will repeat of them."""
        for source in sources:
            if self._claims is not None and source.told is not None:
                self._claims.expect(source.where, source.told)
            yield source

    def answer(self, done: "Sequence[Submitted]") -> None:
        """These claims are answered for."""
        if self._claims is not None:
            self._claims.take(done)

    def finish(self) -> None:
        """The 277CA is in its file, also of a submission that was interrupted."""
        if self._claims is not None:
            self._claims.close()

    def refuse_skipped(self) -> None:
        """End with exit code 3 if faulty sets were left out."""
        problems = [(name, p) for name, intake in self._seen for p in intake.problems]
        if not problems:
            return
        refused = sum(len(intake.refused_sets) for _, intake in self._seen)
        name, first = problems[0]
        self._context.output.warn(
            f"{name}: {refused} faulty transaction sets were left out; the first: {first.tell()}"
        )
        raise click.exceptions.Exit(int(ExitCode.INVALID))


class ClaimAnswers:
    """The 277CA of a submission's 837s: an interchange a file, written as claims are answered for.

    Raises FaultError before anything is sent: the file cannot be written. No more than `AT_ONCE`
    answers wait: of an 837 with more claims a set has several answers.
    """

    def __init__(self, context: Context, target: str) -> None:
        validate_target(target)
        self._context = context
        self._target = target
        self._expected: dict[str, Told837] = {}
        self._waiting: dict[str, list[Answered]] = {}
        self._files: dict[str, Segment] = {}
        self._written: AnswerFile | None = None
        self._open = ""
        self._count = 0
        self._begun = datetime.now(UTC)

    def open_file(self, name: str, isa: "Segment") -> None:
        """Claims of this file may be answered for; its ISA says to whom."""
        self._files[name] = isa

    def expect(self, where: str, told: "Told837") -> None:
        """A claim that will be answered for."""
        self._expected[where] = told

    def take(self, done: "Sequence[Submitted]") -> None:
        """Claims that are answered for; those of no 837 are left out."""
        from admin.x12.claimstatus import Answered

        for one in done:
            told = self._expected.pop(one.where, None)
            if told is not None:
                name, _, place = one.where.rpartition(" ST ")
                answered = Answered(told, _word(one), one.claim, int(place.split()[0]))
                self._waiting.setdefault(name, []).append(answered)
                self._count += 1
        if sum(len(found) for found in self._waiting.values()) >= AT_ONCE:
            self._write()

    def close(self) -> None:
        """Everything is in the file; there is none if no claim was answered for."""
        self._write()
        if self._written is None:
            return
        self._written.close()
        self._context.output.note(
            f"✓ acknowledgement of {self._count} claim{'' if self._count == 1 else 's'} (277CA) in "
            f"{self._target}"
        )

    def _write(self) -> None:
        from admin.x12.claimstatus import GUIDE, Receipt, build_claim_acknowledgements
        from admin.x12.writer import Envelope

        for name, found in self._waiting.items():
            if self._written is None:
                self._written = AnswerFile(self._target)
            if name != self._open:
                isa = self._files[name]
                control = control_number(self._begun) + self._written.interchanges
                envelope = Envelope("HN", *_answering(isa), self._begun, control, isa[15] == "P")
                self._written.begin(envelope, GUIDE)
                self._open = name
            receipt = Receipt(str(self._written.control), self._begun)
            for one in build_claim_acknowledgements(found, receipt):
                self._written.add(one)
        self._waiting.clear()


def _answering(isa: "Segment") -> "tuple[Address, Address]":
    """Who answers the interchange, and whom."""
    from admin.x12.writer import Address

    return Address(isa[8].strip(), isa[7]), Address(isa[6].strip(), isa[5])


def _word(one: "Submitted") -> str:
    from admin.x12.claimstatus import INCOMPLETE, NOT_TAKEN, UNKNOWN_MEMBER, word_for

    if one.unknown:
        return UNKNOWN_MEMBER
    if one.result.error:
        return NOT_TAKEN if one.claim else INCOMPLETE
    return word_for(one.result.checks) if one.refused else word_for(())
