"""The embedded services: Apache Kafka and Valkey as child processes, found again by a state file.

Nothing here imports other packages of the project, and no client library: callers speak to the
services by their addresses.
"""

from deploy.local.errors import ArtifactError, LocalStackError, ServiceStartError
from deploy.local.kafka import LocalKafka
from deploy.local.stack import LocalStack, StackState
from deploy.local.valkey import LocalValkey

__all__ = [
    "ArtifactError",
    "LocalKafka",
    "LocalStack",
    "LocalStackError",
    "LocalValkey",
    "ServiceStartError",
    "StackState",
]
