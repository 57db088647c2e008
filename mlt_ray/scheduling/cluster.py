"""Whether a Ray cluster answers at an address, asked before Ray waits for it for minutes."""

import re
from typing import Final

import grpc
from ray._private import services
from ray._private.gcs_utils import create_gcs_channel

from mlt_ray.errors import UserError, first_line
from mlt_ray.planning.resources import AUTO, LOCAL, address_source, ray_address

ANSWER_S: Final = 10.0
"""Most seconds that a cluster gets to answer; a busy head needs some."""

CLUSTER_ID: Final = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""What a head is asked: the first thing that every client of Ray asks it too."""

TOKEN: Final = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"

START: Final = "start one (ray start --head)"

GIVEN: Final = "name its head as HOST:PORT, such as 10.0.0.5:6379"


def check_address(asked: str | None) -> None:
    """`UserError` within seconds if no cluster answers where `asked` or `RAY_ADDRESS` say.

    Does nothing where this machine shall start a Ray of its own.
    """
    address = ray_address(asked)
    if address == LOCAL:
        return
    if address == AUTO:
        address = _running_here(asked)
    if "://" in address:
        raise unusable(asked, "found one of Ray's client or of another protocol", GIVEN)
    host, _, port = address.rpartition(":")
    if not (host and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 2**16):
        raise unusable(asked, "found no HOST:PORT", GIVEN)
    _ask(asked, address)
    if not services.find_node_ids():
        raise unusable(
            asked,
            "found it without a node on this machine",
            f"join it here (ray start --address={address}), or send it the command "
            "(ray job submit)",
        )


def unusable(asked: str | None, found: str, remedy: str) -> UserError:
    """What is said of an address: where it comes from, what is wrong with it, what to do."""
    source = address_source(asked)
    leave = "unset RAY_ADDRESS, or " if source.startswith("RAY_ADDRESS") else ""
    return UserError(
        f"{source}: expected the address of a Ray cluster that answers, {found}; {remedy}, or "
        f"compute on this machine alone ({leave}--address {LOCAL})"
    )


def _running_here(asked: str | None) -> str:
    """The address of a cluster of which this machine is a node."""
    try:
        return str(services.canonicalize_bootstrap_address(AUTO))
    except ConnectionError as error:
        raise unusable(asked, "found none on this machine", START) from error


def _ask(asked: str | None, address: str) -> None:
    """`UserError` unless a head answers there, to whoever has this process's token."""
    try:
        with create_gcs_channel(address) as channel:
            channel.unary_unary(CLUSTER_ID)(b"", timeout=ANSWER_S)
    except grpc.RpcError as error:
        found, remedy = _reading(error.code(), str(error.details()))
    except Exception as error:  # Ray's own, of a token that it cannot find, or of a certificate
        found, remedy = f"got: {first_line(error)}", TOKEN
    else:
        return
    raise unusable(asked, found, remedy)


def _reading(code: grpc.StatusCode, details: str) -> tuple[str, str]:
    """What an error of the connection means, and its remedy."""
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return "found one that asks for a token", TOKEN
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"got no answer in {ANSWER_S:.0f} s", START
    if code is grpc.StatusCode.UNIMPLEMENTED or "HTTP/2" in details:
        return "found another server there", GIVEN
    if code is grpc.StatusCode.UNAVAILABLE and "resolv" in details:
        return "found no machine of that name", GIVEN
    if code is grpc.StatusCode.UNAVAILABLE and "refused" in details:
        return "found nobody there (connection refused)", START
    return f"got: {details.splitlines()[0] if details else code.name}", START
