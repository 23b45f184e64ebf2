"""What can go wrong when the embedded services are fetched, started or found again."""

__all__ = ["ArtifactError", "LocalStackError", "ServiceStartError"]


class LocalStackError(RuntimeError):
    """Root of the local stack's errors; `retriable` says whether the same call may work later."""

    retriable = False


class ArtifactError(LocalStackError, OSError):
    """A broker jar could not be fetched, or is not the one that the lock file names."""

    retriable = True


class ServiceStartError(LocalStackError):
    """A server ended while starting, or was not ready in time; the text ends with its log's last lines."""

    retriable = True
