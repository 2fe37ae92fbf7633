"""QUIC by aioquic: `server ADDRESS PORT`, with k.pem and c.pem in the working folder, or `client
ADDRESS PORT`: a conversation of version 1, one of version 2, and one whose hello takes two
datagrams."""

import asyncio
import ssl
import sys

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion

V1, V2 = QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2


async def server(address, port):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3", "test"])
    configuration.load_cert_chain("c.pem", "k.pem")
    await serve(address, port, configuration=configuration)
    await asyncio.Event().wait()


async def one(address, port, name, version, alpn=("h3",)):
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=list(alpn),
        server_name=name,
        verify_mode=ssl.CERT_NONE,
        original_version=version,
        supported_versions=[version],
    )
    async with connect(address, port, configuration=configuration) as quic:
        await quic.wait_connected()


async def client(address, port):
    await one(address, port, "one.quic.test", V1)
    await one(address, port, "two.quic.test", V2)
    offers = ["test"] + ["protocol-number-%03d" % number for number in range(90)]
    await one(address, port, "long.quic.test", V1, alpn=offers)


role = {"server": server, "client": client}[sys.argv[1]]
asyncio.run(role(sys.argv[2], int(sys.argv[3])))
