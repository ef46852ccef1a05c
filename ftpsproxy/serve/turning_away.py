"""A client that gets no session hears why."""

from ftpsproxy import net
from ftpsproxy.ftp import replies
from ftpsproxy.net import Socket
from ftpsproxy.observe import log
from ftpsproxy.serve.limits import Refusal
from ftpsproxy.session.service import Service

NOT_ALLOWED = Refusal("clients", "address not allowed")


def unknown(service: Service, sock: Socket, balancer: str, why: net.NoHeader) -> None:
    """Nobody knows for whom a load balancer has connected."""
    if str(why):
        turn_away(sock, balancer, service, Refusal("proxy_protocol", str(why)))
    else:
        net.close(sock)


def turn_away(sock: Socket, client: str, service: Service, why: Refusal) -> None:
    """Say why, without waiting, and close."""
    log.session_refused(client=client, listener=service.listener.name, detail=why.text, limit=why.limit)
    try:
        sock.send(replies.own(421, f"Service not available: {why.text}.").encode())
        sock.shutdown(net.SHUT_WR)
    except OSError:
        pass
    net.close(sock)
