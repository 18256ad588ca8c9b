"""What sinks produced, with every token that is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction

from audit.errors import ConflictingRecord, ContractViolated
from audit.models import Artifact, ArtifactMember, Node, NodeState, Token
from audit.payloads import is_ref
from audit.recorder import reading
from audit.recorder.writing import add, check, new_id, same

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Member(NamedTuple):
    """A token of a sink write, and its visit at the sink."""

    token_id: str
    state_id: str


@transaction.atomic
def register_artifact(
    *,
    run_id: str,
    sink_node_id: str,
    artifact_type: str,
    path_or_uri: str,
    content_hash: str,
    size_bytes: int,
    members: Sequence[Member],
    at: datetime,
    artifact_id: str | None = None,
    idempotency_key: str | None = None,
) -> Artifact:
    """A sink wrote something; `members` are all tokens in it, the first one's visit produced it.

    Told again with its id or its key, it gives the artifact that is on record.

    Raises:
        ContractViolated: no members, one twice, a member's visit at another node or of another
            token, or a content hash that is no SHA-256.
        NotRecorded, RunMismatch: sink, token or state are not there, or are another run's.
        RunEnded: the run has ended.
        ConflictingRecord: id or key are on record with other content.
    """
    if not members or len({member.token_id for member in members}) != len(members):
        raise ContractViolated("an artifact has members, each once")
    if not is_ref(content_hash):
        raise ContractViolated(f"{content_hash!r:.80} is no SHA-256 in lower-case hex")
    values = {
        "run_id": run_id,
        "artifact_id": artifact_id or new_id(at),
        "produced_by_state_id": members[0].state_id,
        "sink_node_id": sink_node_id,
        "artifact_type": artifact_type,
        "path_or_uri": path_or_uri,
        "content_hash": content_hash,
        "size_bytes": size_bytes,
        "idempotency_key": idempotency_key,
        "created_at": at,
    }
    check(Artifact, values)
    if idempotency_key is not None:
        held = Artifact.objects.filter(run_id=run_id, idempotency_key=idempotency_key).first()
        if held is not None:
            same(held, values | {"artifact_id": artifact_id or held.artifact_id}, kind="artifact")
            return _with_same_members(held, members)
    reading.one(Node, run_id=run_id, key=sink_node_id)
    _check_members(run_id, sink_node_id, members)
    artifact, new = add(Artifact, values, kind="artifact")
    if not new:
        return _with_same_members(artifact, members)
    ArtifactMember.objects.bulk_create(
        ArtifactMember(
            run_id=run_id,
            artifact_id=artifact.artifact_id,
            token_id=member.token_id,
            state_id=member.state_id,
            ordinal=ordinal,
            inferred=False,
        )
        for ordinal, member in enumerate(members)
    )
    return artifact


def get_artifacts(*, run_id: str, sink_node_id: str | None = None) -> list[Artifact]:
    """What a run's sinks produced, in order of time.

    Raises:
        NotRecorded: there is no such run.
    """
    reading.require_run(run_id)
    artifacts = Artifact.objects.filter(run_id=run_id)
    if sink_node_id is not None:
        artifacts = artifacts.filter(sink_node_id=sink_node_id)
    return list(artifacts.order_by("created_at", "artifact_id"))


def get_artifacts_for_token(*, run_id: str, token_id: str) -> list[Artifact]:
    """The artifacts that a token is in, in order of time.

    Raises:
        NotRecorded, RunMismatch: the token is not there, or is another run's.
    """
    reading.one(Token, run_id=run_id, key=token_id)
    artifacts = Artifact.objects.filter(run_id=run_id, members__token_id=token_id)
    return list(artifacts.order_by("created_at", "artifact_id"))


def get_artifact_members(*, run_id: str, artifact_id: str) -> list[ArtifactMember]:
    """Every token of an artifact, in order.

    Raises:
        NotRecorded, RunMismatch: the artifact is not there, or is another run's.
    """
    reading.one(Artifact, run_id=run_id, key=artifact_id)
    members = ArtifactMember.objects.filter(run_id=run_id, artifact_id=artifact_id)
    return list(members.order_by("ordinal"))


def _check_members(run_id: str, sink_node_id: str, members: Sequence[Member]) -> None:
    ids = [member.state_id for member in members]
    states = {s.state_id: s for s in NodeState.objects.filter(run_id=run_id, state_id__in=ids)}
    for member in members:
        state = states.get(member.state_id)
        if state is None:
            state = reading.one(NodeState, run_id=run_id, key=member.state_id)
        if (state.token_id, state.node_id) != (member.token_id, sink_node_id):
            raise ContractViolated(
                f"state {member.state_id} is token {state.token_id} at {state.node_id}, "
                f"not token {member.token_id} at {sink_node_id}"
            )


def _with_same_members(artifact: Artifact, members: Sequence[Member]) -> Artifact:
    held = get_artifact_members(run_id=artifact.run_id, artifact_id=artifact.artifact_id)
    if [(each.token_id, each.state_id) for each in held] != [tuple(each) for each in members]:
        raise ConflictingRecord("artifact", artifact.artifact_id, ["members"])
    return artifact
