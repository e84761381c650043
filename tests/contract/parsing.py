"""What is in a stream, by WHATWG HTML 9.2.5 and 9.2.6: fields, line ends, bytes, sizes."""

from cases import message, stream

BOM = b"\xef\xbb\xbf"


def fields():
    def one(name, text, *expected, types=(), differs=None):
        stream("fields", name, text, list(expected), types, differs=differs)

    one("a message", b"data: one\n\n", message("one"))
    one("without the space", b"data:one\n\n", message("one"))
    one("of two spaces one stays", b"data:  one\n\n", message(" one"))
    one("a tab is no space", b"data:\tone\n\n", message("\tone"))
    one("space at the end stays", b"data: one \n\n", message("one "))
    one("colons in the value stay", b"data: a: b:c\n\n", message("a: b:c"))
    one("two lines", b"data: one\ndata: two\n\n", message("one\ntwo"))
    one("empty data is data", b"data:\n\n", message(""))
    one("a name without a colon", b"data\n\ndata\ndata\n\n", message(""), message("\n"))
    one("two messages", b"data: one\n\ndata: two\n\n", message("one"), message("two"))
    one("a type", b"event: made\ndata: one\n\n", ("made", "one", ""))
    one("a type keeps the second space", b"event:  made\ndata: one\n\n", (" made", "one", ""))
    one("of two types the last", b"event: made\nevent: gone\ndata: one\n\n", ("gone", "one", ""), types=["made"])
    one("a type of its own block only", b"event: made\ndata: one\n\ndata: two\n\n", ("made", "one", ""), message("two"))
    one("an empty type is none", b"event: made\nevent:\ndata: one\n\n", message("one"), types=["made"])
    one("a type without data is forgotten", b"event: made\n\ndata: one\n\n", message("one"), types=["made"])
    one("a type with NUL and other controls", b"event: a\0\x1b\ndata: one\n\n", ("a\0\x1b", "one", ""))
    one("types are told apart by case", b"event: Made\ndata: one\n\n", ("Made", "one", ""), types=["made"])
    one("a type like those of a node's own", b"event: fantail.note\ndata: {}\n\n", ("fantail.note", "{}", ""),
        differs={"tail": []})
    one("any order", b"data: one\nid: 7\nevent: made\ndata: two\n\n", ("made", "one\ntwo", "7"))
    one("an id", b"id: 7\ndata: one\n\n", message("one", "7"))
    one("an id stays", b"id: 7\ndata: one\n\ndata: two\n\n", message("one", "7"), message("two", "7"))
    one("an empty id takes it away", b"id: 7\ndata: one\n\nid\ndata: two\n\n", message("one", "7"), message("two"))
    one("an id alone counts for the next", b"id: 7\n\ndata: one\n\n", message("one", "7"))
    one("of two ids the last", b"id: 7\nid: 8\ndata: one\n\n", message("one", "8"))
    one("an id with NUL is none", b"id: 7\ndata: one\n\nid: 8\0\ndata: two\n\n", message("one", "7"), message("two", "7"))
    one("an id of any text", "id:  é€😀 \ndata: one\n\n".encode(), message("one", " é€😀 "))
    one("unknown names", b"note: x\ndata: one\nnote\n: \ndatum: y\n\n", message("one"))
    one("names are told apart by case", b"Data: x\nDATA: y\ndata: one\n\n", message("one"))
    one("names have no spaces", b" data: x\ndata : y\ndata: one\n\n", message("one"))
    one("NUL in data", b"data: a\0b\n\n", message("a\0b"))


def comments():
    def one(name, text, *expected):
        stream("comments", name, text, list(expected))

    one("before", b": hello\ndata: one\n\n", message("one"))
    one("between lines of data", b"data: one\n: data: x\ndata: two\n\n", message("one\ntwo"))
    one("after", b"data: one\n: hello\n\n", message("one"))
    one("alone in a block", b": hello\n\n:\n\n")
    one("empty ones", b":\n:\ndata: one\n:\n\n", message("one"))
    one("an id in a comment is none", b":id: 7\ndata: one\n\n", message("one"))


def line_ends():
    text = "data: one\n\n\ndata:\ndata: two\ndata: three\n\nid: 7\nevent: made\ndata: é€😀\n\n\n\n"
    expected = [message("one"), message("\ntwo\nthree"), ("made", "é€😀", "7")]
    for name, end in (("LF", "\n"), ("CRLF", "\r\n"), ("CR", "\r")):
        for size in (None, 1, 2, 3):
            pieces = f"in pieces of {size}" if size else "in one piece"
            stream("line ends", f"{name} {pieces}", text.replace("\n", end).encode(), expected, size=size)
    mixed = b"data: one\r\ndata: two\rdata: three\ndata: four\n\r\ndata: five\r\n\ndata: six\r\r"
    for size in (None, 1, 2):
        pieces = f"in pieces of {size}" if size else "in one piece"
        stream("line ends", f"mixed {pieces}", mixed,
               [message("one\ntwo\nthree\nfour"), message("five"), message("six")], size=size)
    stream("line ends", "other breaks of Unicode are none", "data: a\v\f\x85\u2028\u2029b\n\n".encode(),
           [message("a\v\f\x85\u2028\u2029b")])
    stream("line ends", "LF and CR are two", b"data: one\n\rdata: two\n\r", [message("one"), message("two")])


def bytes_and_text():
    for size in (None, 1, 2):
        pieces = f", in pieces of {size}" if size else ""
        stream("bytes", f"a byte order mark at the beginning{pieces}", BOM + b"data: one\n\n", [message("one")], size=size)
    stream("bytes", "a mark before a comment", BOM + b": x\ndata: one\n\n", [message("one")])
    stream("bytes", "a mark before an empty line", BOM + b"\ndata: one\n\n", [message("one")])
    stream("bytes", "the second mark is part of a name", BOM + BOM + b"data: x\n\ndata: one\n\n", [message("one")])
    stream("bytes", "a later mark is part of a name", b"data: one\n\n" + BOM + b"data: x\n\n", [message("one")])
    stream("bytes", "a mark in data stays", BOM + b"data: " + BOM + b"one\n\n", [message("\ufeffone")])
    for name, data, text in (
        ("a byte that begins nothing", b"a\xffb", "a\ufffdb"),
        ("a character that is cut off", b"a\xe2\x82", "a\ufffd"),
        ("one that another follows", b"\xf0\x9f\x98\xc3\xa9", "\ufffdé"),
        ("one that is too long", b"\xc0\xaf", "\ufffd\ufffd"),
        ("half of a pair", b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ):
        for size in (None, 1):
            stream("bytes", f"{name}{', in pieces of 1' if size else ''}", b"data: " + data + b"\n\n", [message(text)], size=size)
    stream("bytes", "a type and an id that are no UTF-8", b"event: m\xff\nid: 7\xff\ndata: one\n\n",
           [("m\ufffd", "one", "7\ufffd")])


def sizes():
    for size in (1, 511, 512, 1023, 1024, 1025, 2041, 2048, 4090, 4096, 4097, 8185, 8192, 8193, 16384, 65536, 1 << 20, 10 << 20):
        stream("sizes", f"data of {size} bytes", b"data: " + b"x" * size + b"\n\n", [message("x" * size)])
    for size in (2048, 8192):
        # So that the line's end lies around the end of a buffer.
        for around in range(-2, 3):
            text = "x" * (size - len("data: ") + around)
            stream("sizes", f"a line's end at {size}{around:+}", f"data: {text}\r\n\r\n".encode(), [message(text)], size=size)
    stream("sizes", "20,000 lines", b"data: x\n" * 20_000 + b"\n", [message("\n".join(["x"] * 20_000))])
    stream("sizes", "300 messages", b"".join(b"data: %d\n\n" % n for n in range(300)), [message(str(n)) for n in range(300)])
    stream("sizes", "a comment of a mebibyte", b":" + b"x" * (1 << 20) + b"\ndata: one\n\n", [message("one")])
    stream("sizes", "a name of a mebibyte", b"x" * (1 << 20) + b": y\ndata: one\n\n", [message("one")])
    stream("sizes", "an id and a type of 4,000 bytes", f"id: {'7' * 4000}\nevent: {'m' * 4000}\ndata: one\n\n".encode(),
           [("m" * 4000, "one", "7" * 4000)])


for group in (fields, comments, line_ends, bytes_and_text, sizes):
    group()
