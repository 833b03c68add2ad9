"""Checks that Ghost runs as it is sold, with its database."""

import json
import re
import struct
import threading
import time
import zlib

from instance import OWN_SENDER, OWN_USER, RELAY_SENDER, SECRET, Mailbox, ensure, until

EMAIL = "owner@example.com"
WIDTH, HEIGHT = 2000, 1500


def picture():
    """Returns a PNG of colours, large enough to be resized."""
    rows = b"".join(b"\0" + bytes((x * y) >> shift & 255 for x in range(WIDTH) for shift in (3, 5, 7)) for y in range(HEIGHT))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


class Owner:
    """The owner of a site, signed in on some devices."""

    def __init__(self, instance):
        self.instance, self.cookie = instance, None
        self.host = instance.hostname()

    def ask(self, method, path, body=None, headers=None):
        sent = {"Origin": f"https://{self.host}", "Accept-Version": "v6.0"} | (headers or {})
        if self.cookie:
            sent["Cookie"] = self.cookie
        status, headers, text = self.instance.http("app", f"/ghost/api/admin/{path}", method, body, sent)
        try:
            return status, headers, json.loads(text)
        except ValueError:
            return status, headers, text

    def sign_in(self):
        self.cookie = None
        status, headers, _ = self.ask("POST", "session/", {"username": EMAIL, "password": SECRET})
        self.cookie = next((v.split(";")[0] for k, v in headers if k.lower() == "set-cookie" and "session=" in v), None)
        return status == 201 and self.cookie is not None and self.ask("GET", "users/me/")[0] == 200

    def page(self, path):
        status, _, text = self.instance.http("app", path)
        return status, text

    def upload(self, data):
        edge = "edge-of-a-part"
        part = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        body = part.encode() + data + f"\r\n--{edge}--\r\n".encode()
        status, _, said = self.ask("POST", "images/upload/", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
        ensure(status == 201, f"a picture of {len(data) >> 10} KiB is uploaded: {status}")
        return said["images"][0]["url"].split(self.host, 1)[1]


def set_up(owner):
    person = {"name": "Owner", "email": EMAIL, "password": SECRET, "blogTitle": "A site"}
    status = owner.ask("POST", "authentication/setup/", {"setup": [person]})[0]
    ensure(status == 201, f"the owner is created: {status}")
    ensure(owner.ask("POST", "authentication/setup/", {"setup": [person]})[0] == 403, "nobody becomes the owner a second time")
    for device in ("first", "second"):
        ensure(owner.sign_in(), f"the owner signs in on a {device} device")


def publish(owner):
    post = {"title": "A post", "slug": "a-post", "html": "<p>Said by the owner.</p>", "status": "published"}
    status = owner.ask("POST", "posts/?source=html", {"posts": [post]})[0]
    ensure(status == 201, f"a post is published: {status}")


def is_read(owner):
    status, page = owner.page("/a-post/")
    return status == 200 and b"Said by the owner." in page


def pictures(owner):
    """Uploads pictures, one and then four at once, and returns the path and data of what is shown."""
    data = picture()
    path = owner.upload(data)
    status, shown = owner.page(path)
    ensure(status == 200 and shown.startswith(b"\x89PNG"), f"the picture is shown: {status}")
    small = [owner.page(path.replace("/images/", f"/images/size/w{width}/")) for width in (600, 1000)]
    ensure(all(status == 200 and 0 < len(text) < len(shown) for status, text in small), "it is shown in smaller sizes")
    others = [threading.Thread(target=owner.upload, args=(data,)) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    return path, shown


def mail(instance, owner, server="the relay", sender=RELAY_SENDER, login=None):
    with Mailbox(instance, login) as mailbox:
        status = owner.ask("POST", "authentication/password_reset/", {"password_reset": [{"email": EMAIL}]})[0]
        arrived = until(lambda: mailbox.received)
        ensure(status == 200 and arrived, f"a forgotten password is mailed by {server}: {status}")
        letter = "".join(mailbox.received)
        ensure(f"To: {EMAIL}" in letter and sender in letter, f"the mail is for the owner, from the sender of {server}")
        ensure(not mailbox.refused, f"{server} refuses no login")


def own_mail(start):
    """Sends by the customer's own mail server, which asks for a login."""
    instance = start("ghost-mail")
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    mail(instance, owner, "the customer's server", OWN_SENDER, (OWN_USER, SECRET))


def upgrade(start):
    """Begins with an older version, and is moved to the one that is sold."""
    instance = start("ghost-upgrade", older=True)
    if not instance.ready("a first start of the older version"):
        return
    owner = Owner(instance)
    set_up(owner)
    publish(owner)
    path = owner.upload(picture())
    data = owner.page(path)
    ensure(data[0] == 200, f"the picture is shown: {data[0]}")
    if not instance.upgrade():
        return
    ensure(is_read(owner) and owner.page(path) == data, "posts and pictures are kept over the upgrade")
    ensure(owner.sign_in(), "the owner is kept over the upgrade")
    theme = re.search(rb'href="(/assets/built/[^"]+\.css[^"]*)"', owner.page("/")[1])
    ensure(theme is not None and owner.page(theme[1].decode())[0] == 200, "the site has its theme")
    instance.restart("after a stop")
    ensure(is_read(owner), "the post is read after another stop")


def check(start):
    instance = start("ghost")
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    publish(owner)
    ensure(until(lambda: is_read(owner), 10), "the post is read")
    path, data = pictures(owner)
    for _ in range(20):
        owner.page("/")
    theme = re.search(rb'href="(/assets/built/[^"]+\.css[^"]*)"', owner.page("/")[1])
    ensure(theme is not None and owner.page(theme[1].decode())[0] == 200, "the site has its theme")
    ensure(owner.page("/ghost/")[0] == 200, "the administration is shown")
    if instance.has_relay():
        mail(instance, owner)
    instance.restart("after a stop")
    ensure(is_read(owner) and owner.page(path) == (200, data), "posts and pictures are kept over stop and start")
    ensure(owner.sign_in(), "the owner is kept over stop and start")
    for part in ("app", "database"):
        instance.kill(part)
        until(lambda: not instance.pod(part).ready)
        instance.ready(f"after a kill of the {part}")
        ensure(is_read(owner) and owner.page(path) == (200, data), f"posts and pictures are kept over a kill of the {part}")
    time.sleep(5)
