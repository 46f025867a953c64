"""The suite's own rules: no network, one thread."""

from __future__ import annotations

import os
import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_a_connection_to_another_machine_is_refused(host: str) -> None:
    with socket.socket() as probe, pytest.raises(RuntimeError, match="no network"):
        probe.connect((host, 80))


def test_a_name_look_up_is_refused() -> None:
    with pytest.raises(RuntimeError, match="no network"):
        socket.getaddrinfo("example.org", 80)


def test_loopback_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            connection, _ = server.accept()
        connection.close()


def test_the_hub_is_switched_off_and_threads_are_one() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "1"
