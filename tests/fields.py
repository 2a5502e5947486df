"""An H.264 recording whose frames come as two fields, each in a packet of its own, as broadcasters send them.

No encoder at hand makes such streams, so this one is written by hand: every macroblock holds its pixels as they are.
"""

from fractions import Fraction

import av


class Bits:
    def __init__(self):
        self.text = ""

    def u(self, value, width=1):
        self.text += format(value, f"0{width}b")
        return self

    def ue(self, *values):
        for value in values:
            digits = format(value + 1, "b")
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def align(self):
        self.text += "0" * (-len(self.text) % 8)
        return self

    def raw(self, data):
        self.align()
        self.text += "".join(format(byte, "08b") for byte in data)
        return self

    def nal(self, head):
        self.u(1).align()
        data = int(self.text, 2).to_bytes(len(self.text) // 8, "big")
        for last in range(4):
            data = data.replace(bytes([0, 0, last]), bytes([0, 0, 3, last])) if last else data
        return b"\0\0\0\1" + bytes([head]) + data


def field(number, bottom, blocks):
    """One field: blocks of 16 x 16 of one shade."""
    first = number == 0 and not bottom
    bits = Bits().ue(0, 7, 0).u(number % 16, 4).u(1).u(bottom)
    if first:
        bits.ue(0).u(0, 2)
    else:
        bits.u(0)
    bits.ue(0, 1)
    for at in range(blocks):
        shade = 16 + (number * 7 + at * 5 + bottom * 3) % 200
        bits.ue(25).raw(bytes([shade]) * 384)
    return bits.nal(0x65 if first else 0x61)


def write_fields(path, count=40, width=4, height=2):
    """Write `count` frames of width x 2 height macroblocks at 25 frames a second, two packets each."""
    bits = Bits().u(77, 8).u(0, 8).u(30, 8).ue(0, 0, 2, 1).u(0).ue(width - 1, height - 1).u(0).u(0).u(1).u(0).u(0)
    heads = bits.nal(0x67) + Bits().ue(0, 0).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0b100, 3).nal(0x68)
    raw = path.with_suffix(".h264")
    fields = [field(number, bottom, width * height) for number in range(count) for bottom in (0, 1)]
    raw.write_bytes(heads + b"".join(fields))
    with av.open(str(raw)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, data in enumerate(fields):
            packet = av.Packet(heads + data if number == 0 else data)
            packet.pts = packet.dts = number * 1800
            packet.duration, packet.time_base = 1800, Fraction(1, 90000)
            packet.is_keyframe, packet.stream = number == 0, stream
            new.mux(packet)
    return path
