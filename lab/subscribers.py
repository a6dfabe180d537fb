#!/usr/bin/env python3
"""Subscribers of other makers, MQTT 5, QoS 1, with a session that is kept: lab/subscribers.py paho|gmqtt PORT CLIENT_ID

Each payload is a line on standard output. On standard error: the version, and `session present 0` or 1.
"""

import asyncio
import importlib.metadata
import signal
import sys


def say(text):
    print(text, file=sys.stderr, flush=True)


def line(payload):
    sys.stdout.buffer.write(payload + b"\n")
    sys.stdout.buffer.flush()


def run_paho(port, name):
    from paho.mqtt import client as mqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    say(f"paho {importlib.metadata.version('paho-mqtt')}")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)

    def on_connect(client, _userdata, flags, reason, _properties):
        say(f"session present {int(flags.session_present)}, {reason}")
        client.subscribe("#", qos=1)

    client.on_connect = on_connect
    client.on_message = lambda _client, _userdata, message: line(message.payload)
    expiry = Properties(PacketTypes.CONNECT)
    expiry.SessionExpiryInterval = 3600
    client.connect("127.0.0.1", port, clean_start=False, properties=expiry)
    client.loop_forever()


async def run_gmqtt(port, name):
    import gmqtt

    say(f"gmqtt {importlib.metadata.version('gmqtt')}")
    client = gmqtt.Client(name, clean_session=False, session_expiry_interval=3600)

    def on_connect(client, flags, _reason, _properties):
        say(f"session present {flags}")
        client.subscribe("#", qos=1)

    async def on_message(_client, _topic, payload, _qos, _properties):
        line(payload)
        return 0

    client.on_connect, client.on_message = on_connect, on_message
    await client.connect("127.0.0.1", port, version=gmqtt.constants.MQTTv50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("paho", "gmqtt"):
        sys.exit(__doc__)
    # Ended without a DISCONNECT: the broker keeps what comes meanwhile.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if sys.argv[1] == "paho":
        run_paho(int(sys.argv[2]), sys.argv[3])
    else:
        asyncio.run(run_gmqtt(int(sys.argv[2]), sys.argv[3]))
