"""Encryption keys: made here, certified by the organisation's CA, published in the directory."""

from cryptography.hazmat.primitives.asymmetric import ec

from admin.errors import get_chaincode_answer
from admin.exchange.header import key_id
from admin.exchange.keyring import KeyRing
from admin.exchange.keywrap import public_key_spki
from admin.exchange.place import keys_folder
from admin.procedures.networks.enrolment import open_ca
from admin.procedures.networks.health import Health
from chaincode.directory.model import ORGANIZATION_SUBJECT, EncryptionKey, KeyPublication
from chaincode.directory.rules import user_digest
from chaincode.identity import read_client_identity
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings

USER_SUBJECT = "user"
NOT_FOUND = 404


def open_keyring(surroundings: Surroundings, profile: Profile) -> KeyRing:
    """Return the encryption keys of who acts."""
    user = profile.identity.partition("/")[2]
    return KeyRing(keys_folder(surroundings, profile.organization, user))


async def publish_key(
    surroundings: Surroundings, profile: Profile, health: Health, *, subject: str = USER_SUBJECT
) -> EncryptionKey:
    """A fresh key of who acts (or, with subject `org`, of the organisation) is published.

    An earlier one is retired: it opens what was sealed before and nothing new.
    """
    ca, _ = open_ca(surroundings, profile.organization.name)
    key = ec.generate_private_key(ec.SECP256R1())
    certified = await ca.certify_encryption_key(profile.signer, key)
    # Kept before it is published: what others seal to the key must never be lost.
    open_keyring(surroundings, profile).add(certified.key_pem, certified.certificate_pem)
    publication = KeyPublication(public_key_spki(key), certified.certificate_pem.decode(), subject)
    published = await health.submit("directory:PublishKey", publication, result=EncryptionKey)
    return published.value


async def ensure_key(
    surroundings: Surroundings, profile: Profile, health: Health, *, subject: str = USER_SUBJECT
) -> EncryptionKey:
    """Return the published key whose private half is here; publish one if there is none."""
    selector = subject
    if subject == USER_SUBJECT:
        caller = read_client_identity(profile.signer.creator)
        selector = f"user:{user_digest(profile.signer.msp_id, caller.id)}"
    known = await find_key(health, profile.signer.msp_id, selector)
    ring = open_keyring(surroundings, profile)
    if known is not None and ring.find(key_id(known.public_key)) is not None:
        return known
    return await publish_key(surroundings, profile, health, subject=subject)


async def find_key(
    health: Health, msp_id: str, selector: str = ORGANIZATION_SUBJECT
) -> EncryptionKey | None:
    """Return the key in force of a subject, None if it published none."""
    try:
        return await health.evaluate("directory:GetKey", msp_id, selector, result=EncryptionKey)
    except EvaluateError as failure:
        answer = get_chaincode_answer(failure)
        if answer is None or answer[0] != NOT_FOUND:
            raise
        return None
