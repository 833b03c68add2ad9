"""One instance of a plan, run by the runner that DERMAGA_TEST_APP_RUNNER names, and checks of it."""

import base64
import http.client
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.environ["DERMAGA_TEST_APP_RUNNER"])
import pkubelet  # noqa: E402

SECRET = "s3cretS3cretS3cretS3cretS3cret12"
FAULTS = []
NETWORK = "10.213.7"
# Relay that the manifests of applications with mail name, at the first address of the network.
RELAY_PORT = 2525
RELAY_SENDER = "noreply@example.com"
# Login and sender of a customer's own mail server, at the same address; its password is SECRET.
OWN_USER = "customer"
OWN_SENDER = "site@example.com"


def ensure(holds, what):
    print(f"  {'ok  ' if holds else 'FAIL'}  {what}", flush=True)
    if not holds:
        FAULTS.append(what)


class Instance:
    """One instance of a plan."""

    def __init__(self, name, plans, plan, stand_ins, folder, older=False):
        self.plans, self.name, self.may_be_busy = plans, name, False
        self.objects = objects = plans[plan]
        found = pods(objects)
        references = {c["image"] for pod in found for c in pod["containers"] + pod.get("initContainers", [])}
        keys = re.findall(r"'key': '([^']+)', 'name': '([^']+)'", str(objects))
        secrets = {}
        for key, owner in keys:
            secrets.setdefault(owner, {})[key] = SECRET
        names = {r: re.sub(r"^.*/|[:@].*$", "", r) for r in references}
        self.sold = {r: stand_ins[name] for r, name in names.items()}
        before = {r: stand_ins.get(f"{name}-older", self.sold[r]) for r, name in names.items()}
        by_reference = before if older else dict(self.sold)
        root = pathlib.Path(folder) / "runs"
        shutil.rmtree(root / name, ignore_errors=True)
        self.cluster = pkubelet.Cluster(name, by_reference, root, secrets, NETWORK)
        node = os.path.basename(self.cluster.node.path)
        ways = pkubelet.sh("ip", "-n", node, "route", "show", "default").stdout
        ensure(not ways, "its network has no way out")
        self.cluster.apply(objects)

    def pod(self, part):
        return next(pod for name, pod in self.cluster.pods.items() if name.endswith(part))

    def run(self, part, *words, stdin=None, timeout=60):
        """Runs a command in the pod's container; returns its status and its output."""
        done = self.pod(part).containers[0].exec(list(words), timeout, stdin)
        return done.returncode, (done.stdout + done.stderr).strip()

    def http(self, part, *request, **more):
        """Asks the Service of a part as the ingress does; an answer that never comes has the status 0."""
        service = next(name for name in self.cluster.services if name.endswith(part))
        try:
            return self.cluster.http(service, *request, **more)
        except (OSError, http.client.HTTPException) as error:
            return 0, [], repr(error).encode()

    def hostname(self):
        return next(o["spec"]["rules"][0]["host"] for o in self.objects if o["kind"] == "Ingress")

    def has_relay(self):
        """Returns true for manifests that send mail here; those of a template without a relay do not."""
        found = f"{NETWORK}.1" in str(self.objects)
        if not found:
            print("  ..    no relay is in the manifests, so mail is not checked")
        return found

    def kill(self, part):
        """Kills the first process of the pod's container, as a lost node does."""
        os.kill(self.pod(part).containers[0].main_pid(), signal.SIGKILL)

    def ready(self, what):
        """Waits for readiness within what the start-up probes allow."""
        budget = max(start_budget(pod) for pod in pods(self.objects))
        end, took = time.time() + budget, None
        while took is None and time.time() < end and len(self.happened("init container exit")) < 6:
            took = self.cluster.wait_ready(2)
        took = took if took is None else budget - (end - time.time())
        ensure(took is not None, f"{what}: ready within {budget} s" + (f", after {took:.1f} s" if took else ""))
        return took is not None

    def restart(self, what):
        """Stops and starts all pods; each stops within its grace period."""
        self.stop()
        self.cluster.scale(1)
        return self.ready(what)

    def upgrade(self):
        """Moves an instance that began with older images to those that are sold."""
        self.stop()
        self.cluster.images.update(self.sold)
        self.cluster.scale(1)
        return self.ready("after the upgrade")

    def move(self, plan):
        """Moves it to another plan, whose pods replace those before on the same volumes."""
        self.measure()
        before, self.objects = set(self.cluster.pods.values()), self.plans[plan]
        self.cluster.apply(self.objects)
        ensure(not before & set(self.cluster.pods.values()), f"a move to the plan {plan} replaces the pods")
        return self.ready("after the move")

    def measure(self):
        """Checks the memory that the running containers had in use, and what they wrote."""
        for pod in list(self.cluster.pods.values()):
            for container in pod.containers:
                if container.started is None:
                    continue
                limit = pkubelet.quantity(container.spec["resources"]["limits"]["memory"]) / 2**20
                peak = container.peak.get("working_set", 0)
                ensure(peak < limit, f"{container.spec['name']}: at most {peak} MiB of {limit:.0f} MiB in use")
                # The runner itself writes these two.
                others = set(container.written()) - {"/etc/hosts", "/etc/resolv.conf"}
                ensure(not others, f"{container.spec['name']}: writes nothing beside its volumes {sorted(others)[:3] or ''}")

    def stop(self):
        self.measure()
        for pod in pods(self.objects):
            grace = pod["terminationGracePeriodSeconds"]
            began = time.time()
        self.cluster.scale(0)
        took = time.time() - began
        ensure(took < grace, f"stops in {took:.1f} s of {grace} s")

    def happened(self, text):
        return [event for event in self.cluster.events if text in event]

    def logs(self):
        return "".join(file.read_text(errors="replace") for file in self.cluster.root.glob("*.log"))

    def end(self):
        """Checks what holds of each application, and takes the instance away."""
        self.measure()
        silent = "liveness KILLS" if self.may_be_busy else "LIVENESS failed"
        for fault in ("OOMKilled", silent, "EVICTED", "SIGKILL after", "KILLED"):
            ensure(not self.happened(fault), f"no {fault}")
        self.cluster.close()
        shutil.rmtree(self.cluster.root, ignore_errors=True)


def pods(objects):
    return [o["spec"]["template"]["spec"] for o in objects if o["kind"] in ("Deployment", "StatefulSet")]


def start_budget(pod):
    return max(c["startupProbe"]["periodSeconds"] * c["startupProbe"]["failureThreshold"] for c in pod["containers"])


def until(holds, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if holds():
                return True
        except (OSError, IndexError, StopIteration, AttributeError):
            pass
        time.sleep(0.02)
    return False


class Mailbox:
    """A mail server beside the pods, which keeps what it is sent.

    With a login it takes mail only after that one.
    """

    def __init__(self, instance, login=None):
        self.received, self.login, self.refused = [], login, 0
        address = (f"{NETWORK}.1", RELAY_PORT)
        self.listener = instance.cluster.node.run(lambda: socket.create_server(address))

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, client.makefile("rw", newline="\r\n", errors="replace") as stream:

            def say(text):
                stream.write(text + "\n")
                stream.flush()

            say("220 relay")
            entered = self.login is None
            for line in stream:
                word = line[:4].upper()
                if word == "EHLO" and self.login:
                    say("250-relay")
                    say("250 AUTH PLAIN LOGIN")
                    continue
                if word == "AUTH":
                    entered = self._login(line, stream, say) == self.login
                    self.refused += not entered
                    say("235 welcome" if entered else "535 wrong")
                    continue
                if word in ("MAIL", "RCPT", "DATA") and not entered:
                    say("530 log in first")
                    continue
                if word == "DATA":
                    say("354 go on")
                    self.received.append("".join(itertools.takewhile(lambda line: line != ".\r\n", stream)))
                say("221 bye" if word == "QUIT" else "250 yes")
                if word == "QUIT":
                    return

    @staticmethod
    def _login(line, stream, say):
        """Returns the user and password of an AUTH PLAIN or AUTH LOGIN."""

        def answer(question):
            say(f"334 {base64.b64encode(question).decode()}".strip())
            return base64.b64decode(next(stream)).decode()

        kind, *first = line.split()[1:]
        if kind.upper() == "PLAIN":
            said = base64.b64decode(first[0]).decode() if first else answer(b"")
            return tuple(said.split("\0")[1:])
        user = base64.b64decode(first[0]).decode() if first else answer(b"Username:")
        return user, answer(b"Password:")
