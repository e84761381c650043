"""What the kernel knows of a connection on this machine: sock_diag(7)."""

import errno
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
# Any state, and no cookie: the addresses say which one is meant.
ANY = 0xFFFFFFFF
# The netlink header, then inet_diag_msg: four bytes, inet_diag_sockid, the timer; then both queues.
HEADER_BYTES = 16
QUEUES_AT = HEADER_BYTES + 4 + 48 + 4


def queues(local, remote):
    """Bytes in the queues of the socket with these ends, (to be read, to be sent); `None`: there is none any more."""
    ends = struct.pack("!HH16s16s", local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]))
    query = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, ANY) + ends + struct.pack("=III", 0, ANY, ANY)
    head = struct.pack("=IHHII", HEADER_BYTES + len(query), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as asked:
        asked.send(head + query)
        answer = asked.recv(1 << 16)
    if struct.unpack_from("=H", answer, 4) == (NLMSG_ERROR,):
        code = -struct.unpack_from("=i", answer, HEADER_BYTES)[0]
        if code != errno.ENOENT:
            raise OSError(code, "sock_diag")
        return None
    return struct.unpack_from("=II", answer, QUEUES_AT)
