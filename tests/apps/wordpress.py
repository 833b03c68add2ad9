"""Checks that WordPress runs as it is sold, with its database."""

import json
import re
import threading
import urllib.parse

from instance import OWN_SENDER, OWN_USER, RELAY_SENDER, SECRET, Mailbox, ensure, until

EMAIL = "owner@example.com"
LINE = b"A line of a file that a customer uploads.\n"
# A little less than the limit of uploads, and than that of the ingress.
LARGE = LINE * (60_000_000 // len(LINE))


class Owner:
    """The owner of a site, signed in on some devices."""

    def __init__(self, instance):
        self.instance, self.cookie = instance, None

    def ask(self, path, method="GET", body=None, headers=None, **more):
        sent = ({"Cookie": self.cookie} if self.cookie else {}) | (headers or {})
        return self.instance.http("app", path, method, body, sent, **more)

    def post(self, path, fields, headers=None):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask(path, "POST", urllib.parse.urlencode(fields), form | (headers or {}))

    def sign_in(self):
        self.cookie = None
        login = {"log": "owner", "pwd": SECRET, "wp-submit": "Log In", "testcookie": "1"}
        status, headers, _ = self.post("/wp-login.php", login, {"Cookie": "wordpress_test_cookie=WP%20Cookie%20check"})
        set_ = [value.split(";")[0] for name, value in headers if name.lower() == "set-cookie"]
        self.cookie = "; ".join(set_)
        return status == 302 and "logged_in" in self.cookie

    def upload(self, name, data, between=None):
        """Uploads a text, and returns the status and the answer; calls `between` when half of it is sent."""
        page = self.ask("/wp-admin/media-new.php")[2].decode(errors="replace")
        nonce = re.search(r'"_wpnonce":"([0-9a-f]+)"', page) or re.search(r'name="_wpnonce" value="([0-9a-f]+)"', page)
        edge = "edge-of-a-part"
        fields = {"name": name, "action": "upload-attachment", "_wpnonce": nonce[1] if nonce else ""}
        parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
        parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="async-upload"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n')
        body = "".join(parts).encode() + data + f"\r\n--{edge}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={edge}", "Content-Length": str(len(body))}

        def halves():
            yield body[: len(body) // 2]
            if between:
                between()
            yield body[len(body) // 2 :]

        status, _, said = self.ask("/wp-admin/async-upload.php", "POST", halves(), headers, timeout=240)
        try:
            return status, json.loads(said)
        except ValueError:
            return status, said[:300]

    def has_kept(self, url, data):
        status, _, said = self.ask(urllib.parse.urlparse(url).path, timeout=120)
        return status == 200 and said == data

    def names(self):
        """Returns the names of all uploads that the site lists."""
        status, _, said = self.ask("/?rest_route=/wp/v2/media&per_page=100&_fields=source_url")
        ensure(status == 200, f"the site lists its uploads: {status}")
        return sorted(one["source_url"].rsplit("/", 1)[1] for one in json.loads(said)) if status == 200 else []


def set_up(owner):
    site = {"weblog_title": "A", "user_name": "owner", "admin_password": SECRET, "admin_password2": SECRET,
            "pw_weak": "on", "admin_email": EMAIL, "Submit": "Install"}
    status, _, page = owner.post("/wp-admin/install.php?step=2", site)
    ensure(status == 200 and b"Success" in page, f"the owner installs the site: {status}")
    for device in ("first", "second"):
        ensure(owner.sign_in(), f"the owner signs in on a {device} device")


def is_kept(owner):
    status, _, page = owner.ask("/?rest_route=/")
    return status == 200 and b'"name":"A"' in page


def mail(instance, owner, server="the relay", sender=RELAY_SENDER, login=None):
    with Mailbox(instance, login) as mailbox:
        owner.cookie = None
        status = owner.post("/wp-login.php?action=lostpassword", {"user_login": "owner", "redirect_to": ""})[0]
        arrived = until(lambda: mailbox.received)
        ensure(status == 302 and arrived, f"a forgotten password is mailed by {server}: {status}")
        letter = "".join(mailbox.received)
        ensure(f"To: {EMAIL}" in letter and sender in letter, f"the mail is for the owner, from the sender of {server}")
        ensure(not mailbox.refused, f"{server} refuses no login")


def own_mail(start):
    """Sends by the customer's own mail server, which asks for a login, although the operator has a relay."""
    instance = start("wordpress-mail")
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    mail(instance, owner, "the customer's server", OWN_SENDER, (OWN_USER, SECRET))


def check(start):
    instance = start("wordpress")
    if not instance.ready("a first start"):
        return
    ensure(not instance.happened("app/app: started (restart 1)"), "its first start needs no second one")
    owner = Owner(instance)
    set_up(owner)
    ask = "echo ini_get('upload_max_filesize'), ' ', ini_get('post_max_size');"
    ensure(instance.run("app", "php", "-r", ask)[1] == "64M 64M", "uploads may have 64 MB")
    if instance.has_relay():
        mail(instance, owner)
    instance.restart("after a stop")
    ensure(is_kept(owner), "the site is kept")


def uploads(start):
    """Uploads files of 60 MB, one of which is cut off by a kill."""
    instance = start("wordpress-uploads")
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    status, said = owner.upload("large.txt", LARGE)
    passed = status == 200 and isinstance(said, dict) and said.get("success")
    ensure(passed, f"a file of 60 MB is uploaded: {status} {'' if passed else said}")
    if not passed:
        return
    url = said["data"]["url"]
    ensure(owner.has_kept(url, LARGE), "the file is read as it was uploaded")
    half, killed, answer = threading.Event(), threading.Event(), []

    def between():
        half.set()
        killed.wait(60)

    thread = threading.Thread(target=lambda: answer.append(owner.upload("cut.txt", LARGE, between)))
    thread.start()
    ensure(half.wait(60), "half of another file is sent")
    instance.kill("app")
    until(lambda: not instance.pod("app").ready)
    killed.set()
    thread.join()
    ensure(answer[0][0] != 200, f"an upload that was cut off is no success: {answer[0][0]}")
    instance.ready("after a kill within an upload")
    ensure(owner.has_kept(url, LARGE), "the file before is kept over the kill")
    ensure(owner.sign_in(), "the owner signs in after the kill")
    ensure(owner.names() == ["large.txt"], "the site lists nothing that was cut off")
    found = instance.run("app", "find", "/var/www/html/wp-content/uploads", "-name", "cut*")
    ensure(found == (0, ""), f"nothing of it is on the volume: {found[1]}")
    status, said = owner.upload("again.txt", LARGE)
    ensure(status == 200 and isinstance(said, dict) and said.get("success"), f"it is uploaded again: {status}")


def upgrade(start):
    """Begins with the image of an older distribution, and is moved to a newer one.

    The site's own files stay: WordPress renews them itself, the image brings PHP and its server.
    """
    instance = start("wordpress-upgrade", older=True)
    if not instance.ready("a first start of the older image"):
        return
    owner = Owner(instance)
    set_up(owner)
    status, said = owner.upload("kept.txt", LINE * 100)
    uploaded = status == 200 and isinstance(said, dict) and said.get("success")
    ensure(uploaded, f"a file is uploaded: {status} {'' if uploaded else said}")
    version = instance.run("app", "php", "-r", "echo PHP_VERSION;")[1]
    if not uploaded or not instance.upgrade():
        return
    ensure(instance.run("app", "php", "-r", "echo PHP_VERSION;")[1] != version, f"it has a newer PHP than {version}")
    ensure(is_kept(owner), "the site is kept over the upgrade")
    ensure(owner.has_kept(said["data"]["url"], LINE * 100), "the file is kept over the upgrade")
    ensure(owner.sign_in(), "the owner is kept over the upgrade")
