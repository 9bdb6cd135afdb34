"""A contract of a deployed chaincode: where proposals start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network.client.arguments import Argument
from network.client.commit import CommitStatus
from network.client.proposal import Proposal, new_proposal
from network.client.retry import Retry, retrying, sending
from network.client.session import Session


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract of a chaincode on a channel.

    Attributes:
        chaincode: the chaincode's name.
        name: the contract's name inside the chaincode; empty for the chaincode's default.
    """

    session: Session
    channel_id: str
    chaincode: str
    name: str = ""

    def proposal(
        self,
        transaction: str,
        *arguments: Argument,
        transient: Mapping[str, Argument] | None = None,
        organizations: Sequence[str] = (),
        is_init: bool = False,
    ) -> Proposal:
        """An unsigned proposal to take through its stages one by one.

        Args:
            transaction: the transaction's name within the contract.
            arguments: text, bytes, or values that go as canonical JSON.
            transient: private input that never enters a block.
            organizations: MSP ids that must endorse; empty leaves the choice to the gateway.
            is_init: whether this initialises a chaincode that requires it.
        """
        called = f"{self.name}:{transaction}" if self.name else transaction
        return new_proposal(
            self.session,
            channel_id=self.channel_id,
            chaincode=self.chaincode,
            arguments=[called, *arguments],
            transient=transient,
            organizations=organizations,
            is_init=is_init,
        )

    async def evaluate(
        self,
        transaction: str,
        *arguments: Argument,
        transient: Mapping[str, Argument] | None = None,
        organizations: Sequence[str] = (),
        timeout: float | None = None,
    ) -> bytes:
        """The answer of one peer; nothing is written.

        Args:
            transaction: the query's name within the contract.
            arguments: as `proposal`'s.
            transient: as `proposal`'s.
            organizations: MSP ids whose peers may answer.
            timeout: seconds; the session's deadline when None.

        Raises:
            EvaluateError: no peer could answer, with what each said.
        """
        proposal = self.proposal(
            transaction, *arguments, transient=transient, organizations=organizations
        )
        return await proposal.evaluate(timeout=timeout)

    async def submit(
        self,
        transaction: str,
        *arguments: Argument,
        transient: Mapping[str, Argument] | None = None,
        organizations: Sequence[str] = (),
        is_init: bool = False,
        endorse_timeout: float | None = None,
        submit_timeout: float | None = None,
        commit_timeout: float | None = None,
        retry: Retry | None = None,
    ) -> CommitStatus:
        """The status of a transaction that is committed and valid.

        Args:
            transaction: the transaction's name within the contract.
            arguments: as `proposal`'s.
            transient: as `proposal`'s.
            organizations: as `proposal`'s.
            is_init: as `proposal`'s.
            endorse_timeout: seconds; the session's deadline when None, as the next two.
            submit_timeout: seconds.
            commit_timeout: seconds.
            retry: how to try again on a read conflict and while no orderer takes the
                transaction; None does not.

        Raises:
            EndorseError: not enough endorsements; nothing was ordered.
            SubmitError: no orderer accepted.
            CommitStatusError: accepted, but the verdict is not known.
            CommitError: the ledger marked it invalid.
        """

        async def journey() -> CommitStatus:
            proposal = self.proposal(
                transaction,
                *arguments,
                transient=transient,
                organizations=organizations,
                is_init=is_init,
            )
            # Signed once, so that what is sent again is the same to the byte.
            endorsed = (await proposal.endorse(timeout=endorse_timeout)).signed()
            commit = await sending(
                lambda: endorsed.submit(timeout=submit_timeout), retry.patience if retry else 0.0
            )
            return (await commit.status(timeout=commit_timeout)).validate()

        return await (retrying(journey, retry) if retry else journey())
