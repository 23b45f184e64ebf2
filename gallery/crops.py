"""Pictures of people, kept only where a gallery's policy asks for them: encrypted, each beside its vector, for a time.

A crop is encrypted by Fernet (AES-128-CBC and HMAC-SHA256, of the package cryptography) before it leaves the process.
The key comes from `gallery.crop_key` or `gallery.crop_key_file` and never goes to Redis: who has the database has no
picture. Of several keys (one a line) the first encrypts, and all open. Redis forgets a crop when its time is over, and
the scripts move and delete it with its vector.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gallery import scripts
from gallery.config import GalleryConfig
from gallery.connection import named_errors
from gallery.errors import CropKeyError, UnknownCropError
from gallery.keys import GalleryKeys, check_identity_id
from gallery.schema import CropPolicy
from gallery.store import GalleryStore

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

__all__ = ["keep_crops", "list_crops", "new_key", "open_crops", "open_keys", "read_crop", "set_crop_policy"]

KEYS_AT_A_TIME = 5_000
REMEDY = "set gallery.crop_key_file or FOVEAL_GALLERY__CROP_KEY; `foveal gallery crop-key` makes a key"


def new_key() -> str:
    """A key, as text."""
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def open_keys(config: GalleryConfig) -> "MultiFernet":
    """The keys of the settings. Raises: CropKeyError where there is none, or one that is no key."""
    from cryptography.fernet import Fernet, MultiFernet

    text = config.crop_key.get_secret_value() if config.crop_key is not None else ""
    if config.crop_key_file is not None:
        try:
            text += "\n" + config.crop_key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise CropKeyError(f"gallery.crop_key_file: expected a readable file of keys, got: {error}") from error
    given = text.split()
    if not given:
        raise CropKeyError(f"gallery.crop_key: expected a key, got none; {REMEDY}")
    try:
        return MultiFernet([Fernet(one) for one in given])
    except ValueError as error:
        raise CropKeyError(f"gallery.crop_key: expected 32 bytes in base64 for each key; {REMEDY}") from error


def set_crop_policy(store: GalleryStore, gallery: str, policy: CropPolicy | None, *, reason: str = "") -> int:
    """Keep crops from now on, each for the policy's time; None keeps none and deletes those that are there.

    A shorter time holds for crops that are there as well. Returns how many were deleted. Raises: UnknownGalleryError,
    CropKeyError where there is no key to encrypt them by.
    """
    keys, deleted = GalleryKeys(gallery), 0
    if policy is not None:
        open_keys(store.config)
    stored = "" if policy is None else policy.model_dump_json()
    store.run(scripts.CONFIGURE, keys, "", "crops", "crops", stored, reason=reason)
    with named_errors(store.config):
        for key in store.client.scan_iter(match=f"{keys.prefix}crop:*", count=KEYS_AT_A_TIME):
            if policy is None:
                deleted += int(store.client.delete(key))
            else:
                store.client.pexpire(key, 1000 * policy.retention_s, lt=True)
    return deleted


def keep_crops(
    store: GalleryStore, gallery: str, identity_id: str, crops: Mapping[int, bytes], *, reason: str = ""
) -> int:
    """Keep encoded pictures by the numbers of their vectors, where the policy asks for it; returns how many.

    Raises: UnknownGalleryError, CropKeyError.
    """
    policy = store.info(gallery).crops
    if policy is None or not crops:
        return 0
    cipher = open_keys(store.config)
    pairs = [part for number, crop in crops.items() for part in (number, cipher.encrypt(crop))]
    keys, identity = GalleryKeys(gallery), check_identity_id(identity_id)
    return int(store.run(scripts.CROPS, keys, identity, 1000 * policy.retention_s, *pairs, reason=reason)[2])


def list_crops(store: GalleryStore, gallery: str, identity_id: str) -> dict[int, int]:
    """Of which vectors there are crops, and when each goes, ms since the epoch. Raises: UnknownIdentityError."""
    keys = GalleryKeys(gallery)
    numbers = [vector.number for vector in store.show(gallery, identity_id).vectors]
    with named_errors(store.config):
        pipe = store.client.pipeline(transaction=False)
        for number in numbers:
            pipe.pexpiretime(keys.crop(identity_id, number))
        times = pipe.execute()
    return {number: int(at_ms) for number, at_ms in zip(numbers, times, strict=True) if at_ms > 0}


def read_crop(store: GalleryStore, gallery: str, identity_id: str, number: int, *, reason: str = "") -> bytes:
    """The picture that a vector was made of, as it was encoded (JPEG); the look is in the audit trail.

    Raises: UnknownIdentityError, UnknownCropError, CropKeyError where the keys do not open it.
    """
    from cryptography.fernet import InvalidToken

    cipher = open_keys(store.config)
    reply = store.run(scripts.CROP, GalleryKeys(gallery), check_identity_id(identity_id), number, reason=reason)
    if reply[0] == b"no_crop":
        raise UnknownCropError(
            f"crop: expected one of {identity_id!r} that is kept, got number {number}, which never was or whose time "
            f"is over; `foveal gallery crop {gallery} {identity_id}` lists them"
        )
    try:
        return cipher.decrypt(reply[2])
    except InvalidToken as error:
        raise _another_key(identity_id, number) from error


def open_crops(
    store: GalleryStore, gallery: str, identity_id: str, numbers: Sequence[int], *, what_for: str, reason: str = ""
) -> dict[int, bytes]:
    """Several crops of an identity as they were encoded, those that are there; one line of the audit trail.

    Raises: UnknownIdentityError, CropKeyError.
    """
    from cryptography.fernet import InvalidToken

    cipher = open_keys(store.config)
    reply = store.run(
        scripts.OPEN, GalleryKeys(gallery), check_identity_id(identity_id), what_for, *numbers, reason=reason
    )
    opened = {}
    for number, crop in zip(map(int, reply[1::2]), reply[2::2], strict=True):
        try:
            opened[number] = cipher.decrypt(crop)
        except InvalidToken as error:
            raise _another_key(identity_id, number) from error
    return opened


def _another_key(identity_id: str, number: int) -> CropKeyError:
    return CropKeyError(
        f"gallery.crop_key: expected the key that crop {number} of {identity_id!r} was encrypted by, got another; "
        "add that key as another line"
    )
