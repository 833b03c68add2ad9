"""Checks that n8n runs as it is sold."""

import json
import re
import threading
import time

from instance import OWN_SENDER, OWN_USER, RELAY_SENDER, SECRET, Mailbox, ensure, until

EMAIL = "owner@example.com"
# Does what the caller's body asks: works for seconds without a pause, and returns items of a kilobyte.
WORK = """
const {seconds = 0, items = 1} = $input.first().json.body;
const end = Date.now() + seconds * 1000;
while (Date.now() < end);
return Array.from({length: items}, (_, n) => ({json: {n, text: String(n).padEnd(1000, 'x')}}));
"""
COUNT = "return [{json: {count: $input.all().length}}];"


def workflow():
    def node(name, kind, version, parameters):
        return {"id": name, "name": name, "type": f"n8n-nodes-base.{kind}", "typeVersion": version, "position": [0, 0],
                "parameters": parameters}

    hook = {"httpMethod": "POST", "path": "work", "responseMode": "lastNode", "options": {}}
    nodes = [
        node("Hook", "webhook", 2, hook) | {"webhookId": "work"}, node("Work", "code", 2, {"jsCode": WORK}),
        node("Count", "code", 2, {"jsCode": COUNT}),
    ]
    lead = lambda name: {"main": [[{"node": name, "type": "main", "index": 0}]]}  # noqa: E731
    return {"name": "Work", "nodes": nodes, "connections": {"Hook": lead("Work"), "Work": lead("Count")},
            "settings": {}, "active": False}


class Owner:
    """The owner of an instance, signed in on some devices."""

    def __init__(self, instance):
        self.instance, self.cookie = instance, None

    def ask(self, method, path, body=None, **more):
        headers = {"Cookie": self.cookie} if self.cookie else {}
        status, headers, text = self.instance.http("app", path, method, body, headers, **more)
        try:
            return status, headers, json.loads(text)
        except ValueError:
            return status, headers, text

    def sign_in(self):
        self.cookie = None
        status, headers, _ = self.ask("POST", "/rest/login", {"emailOrLdapLoginId": EMAIL, "password": SECRET})
        self.cookie = next((v.split(";")[0] for k, v in headers if k.lower() == "set-cookie" and v.startswith("n8n-auth=")), None)
        return status == 200 and self.cookie is not None and self.ask("GET", "/rest/login")[0] == 200

    def work(self, timeout=60, **asked):
        """Calls the webhook, and returns its status and count."""
        status, _, said = self.ask("POST", "/webhook/work", asked, timeout=timeout)
        return status, said.get("count", said) if isinstance(said, dict) else said


def make_workflow(owner):
    status, _, said = owner.ask("POST", "/rest/workflows", workflow())
    ensure(status == 200, f"a workflow is made: {status}")
    made = said["data"]
    active = {"active": True, "versionId": made["versionId"]}
    status, _, said = owner.ask("PATCH", f"/rest/workflows/{made['id']}", active)
    ensure(status == 200 and said["data"]["active"], f"a workflow is switched on: {status}")


def open_editor(owner):
    """Fetches what the editor fetches at its start."""
    for path in ("/", "/types/nodes.json", "/types/credentials.json", "/rest/settings", "/rest/workflows"):
        status = owner.ask("GET", path)[0]
        ensure(status == 200, f"the editor fetches {path}: {status}")


def use(instance, owner, sizes=(1, 5, 10, 20)):
    """Checks the first use that the memory of a plan must be enough for, with so many MB of items."""
    before = len(instance.happened("app: not ready"))
    open_editor(owner)
    for _ in range(50):
        owner.work()
    ensure(owner.work() == (200, 1), "the webhook still answers after fifty calls")
    for megabytes in sizes:
        said = owner.work(items=megabytes * 1000, timeout=240)
        ensure(said == (200, megabytes * 1000), f"a workflow passes {megabytes} MB of items on: {said}")
    open_editor(owner)
    ensure(len(instance.happened("app: not ready")) == before, "it refuses nobody while it works")


def busy(instance, owner):
    """Works for longer than three liveness probes wait, without a pause."""
    answer, before = [], len(instance.happened("LIVENESS failed"))
    thread = threading.Thread(target=lambda: answer.append(owner.work(seconds=75, timeout=150)))
    thread.start()
    noticed = until(lambda: len(instance.happened("LIVENESS failed")) > before + 1, 90)
    ensure(noticed, "liveness fails while it is busy, and waits")
    thread.join()
    ensure(answer[:1] == [(200, 1)], f"a busy one ends its work: {answer}")
    ensure(until(lambda: instance.pod("app").ready, 30), "a busy one is ready again")


def mail(instance, owner, server="the relay", sender=RELAY_SENDER, login=None):
    with Mailbox(instance, login) as mailbox:
        status = owner.ask("POST", "/rest/forgot-password", {"email": EMAIL})[0]
        ensure(status == 200 and until(lambda: mailbox.received), f"a forgotten password is mailed by {server}: {status}")
        letter = "".join(mailbox.received)
        ensure(f"To: {EMAIL}" in letter and sender in letter, f"the mail is for the owner, from the sender of {server}")
        ensure(not mailbox.refused, f"{server} refuses no login")


def set_up(owner):
    person = {"email": EMAIL, "firstName": "O", "lastName": "W", "password": SECRET}
    status = owner.ask("POST", "/rest/owner/setup", person)[0]
    ensure(status == 200, f"the owner is created: {status}")
    ensure(owner.ask("POST", "/rest/owner/setup", person)[0] == 400, "nobody becomes the owner a second time")
    for device in ("first", "second"):
        ensure(owner.sign_in(), f"the owner signs in on a {device} device")


def own_mail(start):
    """Sends by the customer's own mail server, which asks for a login."""
    instance = start("n8n-mail")
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    mail(instance, owner, "the customer's server", OWN_SENDER, (OWN_USER, SECRET))


def upgrade(start, name="n8n-upgrade"):
    """Begins with an older version, and is moved to the one that is sold; returns both when it has become ready."""
    instance = start(name, older=True)
    instance.may_be_busy = True
    if not instance.ready("a first start of the older version"):
        return None
    owner = Owner(instance)
    set_up(owner)
    make_workflow(owner)
    ensure(until(lambda: owner.work() == (200, 1), 10), "its webhook answers")
    secret = {"name": "Kept", "type": "httpBasicAuth", "data": {"user": "a", "password": "kept"}}
    status, _, said = owner.ask("POST", "/rest/credentials", secret)
    ensure(status == 200, f"credentials are stored: {status}")
    if not instance.upgrade():
        return None
    ensure(owner.work() == (200, 1), "its webhook answers as soon as it is ready")
    ensure(owner.sign_in(), "the owner is kept over the upgrade")
    status, _, shown = owner.ask("GET", f"/rest/credentials/{said['data']['id']}?includeData=true")
    ensure(status == 200 and shown["data"]["data"]["user"] == "a", f"credentials are kept and can be read: {status}")
    instance.restart("after a stop")
    ensure(owner.work() == (200, 1), "its webhook answers after another stop")
    return instance, owner


def next_line(start):
    """Is moved to the line that runs code in a process of its own, by the manifests that are sold."""
    moved = upgrade(start, "n8n-next")
    if moved is None:
        return
    instance, owner = moved
    listening = instance.run("app", "sh", "-c", "cat /proc/net/tcp /proc/net/tcp6")[1]
    # Port 5679, where it waits for its runners.
    addresses = re.findall(r"^\s*\d+: ([0-9A-F]+):162F [0-9A-F:]+ 0A", listening, re.M)
    ensure(addresses == ["0100007F"], f"runners are waited for inside the pod only: {addresses}")
    # The pattern does not find its own command line.
    find = r"for p in /proc/[0-9]*; do grep -q '[t]ask-runner' $p/cmdline && tr '\0' '\n' <$p/environ; done; true"
    environment = instance.run("app", "sh", "-c", find)[1]
    ensure("N8N_RUNNERS_GRANT_TOKEN=" in environment, "a runner is there")
    ensure("N8N_ENCRYPTION_KEY" not in environment, "the runner does not have the key of the credentials")
    for megabytes in (1, 5, 10):
        said = owner.work(items=megabytes * 1000, timeout=240)
        ensure(said == (200, megabytes * 1000), f"a workflow passes {megabytes} MB of items on: {said}")
    open_editor(owner)


def least(start):
    """Runs on the least memory that the plugin takes, with what is promised of it."""
    instance = start("n8n-least")
    instance.may_be_busy = True
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    make_workflow(owner)
    ensure(until(lambda: owner.work() == (200, 1), 10), "its webhook answers")
    use(instance, owner, (1, 5, 10))
    instance.restart("after a stop")
    ensure(owner.work() == (200, 1), "its webhook answers as soon as it is ready")
    ensure(owner.sign_in(), "the owner is kept over stop and start")


def check(start):
    instance = start("n8n")
    # One thread does everything, and is silent while it works through many items.
    instance.may_be_busy = True
    if not instance.ready("a first start"):
        return
    owner = Owner(instance)
    set_up(owner)
    make_workflow(owner)
    ensure(until(lambda: owner.work() == (200, 1), 10), "its webhook answers")
    if instance.has_relay():
        mail(instance, owner)
    use(instance, owner)
    instance.restart("after a stop")
    ensure(owner.work() == (200, 1), "its webhook answers as soon as it is ready")
    ensure("Last session crashed" not in instance.logs(), "it was shut down cleanly")
    ensure(owner.sign_in(), "the owner is kept over stop and start")
    instance.kill("app")
    until(lambda: not instance.pod("app").ready)
    instance.ready("after a kill")
    ensure(owner.work() == (200, 1), "its webhook answers as soon as it is ready after a kill")
    ensure("Last session crashed" in instance.logs(), "it notices the kill")
    ensure(owner.sign_in(), "the owner is kept over a kill")
    time.sleep(5)
    busy(instance, owner)
