"""What can go wrong with galleries: one small tree, the remedy in each text, `retriable` on each class."""

__all__ = [
    "CalibrationError",
    "ChangeError",
    "CorruptVectorError",
    "CropKeyError",
    "DimensionMismatchError",
    "EpochMismatchError",
    "ExportFileError",
    "GalleryAuthError",
    "GalleryBusyError",
    "GalleryConfigError",
    "GalleryError",
    "GalleryExistsError",
    "GalleryFullError",
    "GalleryOutOfMemoryError",
    "GalleryReadOnlyError",
    "GalleryServerError",
    "GalleryUnavailableError",
    "InvalidEmbeddingError",
    "InvalidNameError",
    "NotReembeddableError",
    "UnknownCropError",
    "UnknownGalleryError",
    "UnknownIdentityError",
]


class GalleryError(Exception):
    """Root of everything that `gallery` raises on purpose."""

    retriable = False


class GalleryConfigError(GalleryError, ValueError):
    """A gallery setting is not usable; the text names the dotted key."""


class GalleryUnavailableError(GalleryError, ConnectionError):
    """The Redis server did not answer in time, refused the connection, or is still loading its data."""

    retriable = True


class GalleryAuthError(GalleryError, PermissionError):
    """The server refused the user name, the password or the command's permission."""


class GalleryReadOnlyError(GalleryError, ConnectionError):
    """The server takes no writes: a replica, or a primary that lost its disk or its replicas."""

    retriable = True


class GalleryOutOfMemoryError(GalleryError, MemoryError):
    """The server is at its `maxmemory` and evicts nothing."""

    retriable = True


class GalleryServerError(GalleryError, RuntimeError):
    """The server answered with an error that no other class here names."""


class UnknownGalleryError(GalleryError, LookupError):
    """No gallery of this name on this server."""


class GalleryExistsError(GalleryError, ValueError):
    """A gallery of this name is there already, with other properties."""


class UnknownIdentityError(GalleryError, LookupError):
    """No identity of this id in this gallery."""


class GalleryFullError(GalleryError, RuntimeError):
    """The gallery holds `gallery.max_identities`, or the identity `gallery.vectors_per_identity`."""


class DimensionMismatchError(GalleryError, ValueError):
    """An embedding's length is not the gallery's."""


class EpochMismatchError(GalleryError, ValueError):
    """An embedding comes from another model epoch than the gallery's: their distances mean nothing."""


class InvalidEmbeddingError(GalleryError, ValueError):
    """An embedding is not finite, not of unit norm, or not of shape [D] or [N, D].

    Attributes: rows - indices of the embeddings at fault, empty where the array as a whole is.
    """

    def __init__(self, message: str, rows: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.rows = rows


class GalleryBusyError(GalleryError, RuntimeError):
    """Others changed the same identity again and again while it was being written."""

    retriable = True


class ChangeError(GalleryError, ValueError):
    """A merge, split or undo that makes no sense as things stand; nothing was changed."""


class CalibrationError(GalleryError, ValueError):
    """There is too little to calibrate a gallery from; its threshold stays as it is."""


class ExportFileError(GalleryError, ValueError):
    """A file is not an export of a gallery, or a damaged one; nothing was imported."""


class NotReembeddableError(GalleryError, ValueError):
    """Some vectors have no kept crop to be embedded from by another network; the gallery stays as it is.

    Attributes: without_crops - how many; identities - ids that would have no usable vector left.
    """

    def __init__(self, message: str, without_crops: int = 0, identities: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.without_crops = without_crops
        self.identities = identities


class CropKeyError(GalleryError, ValueError):
    """There is no key for kept crops, or not the one that a crop was encrypted by."""


class UnknownCropError(GalleryError, LookupError):
    """No crop is kept of this vector, or no longer."""


class InvalidNameError(GalleryError, ValueError):
    """A gallery's name or an identity's id has characters that a key may not have."""


class CorruptVectorError(GalleryError, ValueError):
    """A stored vector cannot be read: it is skipped, counted and named, never compared.

    Attributes: key - the Redis key of the hash.
    """

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key
