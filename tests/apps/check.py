"""Runs an application from the manifests that its plan renders, and checks that it really works.

Usage: check.py APPLICATION PLAN MANIFESTS FOLDER

MANIFESTS is the output of `dermaga plugin render`. The runner is in the folder that
DERMAGA_TEST_APP_RUNNER names: `load.plans` reads the manifests, `pkubelet.Cluster` runs their pods as
processes under the limits, users and probes that they state. Needs root, overlayfs, network
namespaces and version 1 of control groups. Trees of packages are kept in FOLDER. Prints what happened and ends with 1 when
something is not as it is sold.
"""

import os
import pathlib
import re
import shutil
import signal
import sys
import time
import urllib.parse

sys.path.insert(0, os.environ["DERMAGA_TEST_APP_RUNNER"])
import images  # noqa: E402
import load  # noqa: E402
import pkubelet  # noqa: E402

SECRET = "s3cretS3cretS3cretS3cretS3cret12"
FAULTS = []


def ensure(holds, what):
    print(f"  {'ok  ' if holds else 'FAIL'}  {what}", flush=True)
    if not holds:
        FAULTS.append(what)


class Instance:
    """One instance of a plan."""

    def __init__(self, name, objects, stand_ins, folder):
        self.objects, self.name = objects, name
        found = pods(objects)
        references = {c["image"] for pod in found for c in pod["containers"] + pod.get("initContainers", [])}
        keys = re.findall(r"'key': '([^']+)', 'name': '([^']+)'", str(objects))
        secrets = {}
        for key, owner in keys:
            secrets.setdefault(owner, {})[key] = SECRET
        by_reference = {r: stand_ins[re.sub(r"^.*/|[:@].*$", "", r)] for r in references}
        root = pathlib.Path(folder) / "runs"
        shutil.rmtree(root / name, ignore_errors=True)
        self.cluster = pkubelet.Cluster(name, by_reference, root, secrets, "10.213.7")
        self.cluster.apply(objects)

    def pod(self, part):
        return next(pod for name, pod in self.cluster.pods.items() if name.endswith(part))

    def run(self, part, *words, stdin=None, timeout=60):
        """Runs a command in the pod's container; returns its status and its output."""
        done = self.pod(part).containers[0].exec(list(words), timeout, stdin)
        return done.returncode, (done.stdout + done.stderr).strip()

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

    def stop(self):
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
        for fault in ("OOMKilled", "LIVENESS failed", "EVICTED", "SIGKILL after", "KILLED"):
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


def cut_off_first_start(instance, part, moments):
    """Kills the first start at these moments after it began."""
    last = None
    for moment in moments:
        began = until(lambda: instance.pod(part).containers[0].process not in (None, last))
        container = instance.pod(part).containers[0]
        if not began or container.spec not in instance.pod(part).spec["initContainers"]:
            print("  ..    the first start was over before it could be killed once more")
            return
        last = container.process
        time.sleep(moment)
        try:
            instance.kill(part)
        except (OSError, IndexError):
            return
        last.wait()


def postgresql(start):
    instance = start("postgresql")
    cut_off_first_start(instance, "database", (0.3, 0.8, 1.6))
    ensure(bool(instance.happened("init container exit")), "the first start was cut off")
    if not instance.ready("a first start that was cut off"):
        return
    environment = dict(instance.pod("database").containers[0].environment())

    def sql(text, password=SECRET, host="127.0.0.1"):
        url = f"postgresql://{environment['POSTGRES_USER']}:{password}@{host}/{environment['POSTGRES_DB']}"
        return instance.run("database", "psql", url, "--no-psqlrc", "-Atqc", text)

    address = instance.pod("database").ip
    ensure(sql("SELECT 1") == (0, "1"), "the customer logs in")
    ensure(sql("SELECT 1", host=address) == (0, "1"), "the customer logs in from another pod's side")
    ensure(sql("SELECT 1", password="wrong")[0] != 0, "a wrong password is refused, inside the pod too")
    ensure(sql("SHOW data_checksums") == (0, "on"), "data has checksums")
    ensure(sql("CREATE TABLE kept AS SELECT generate_series(1, 200000) AS n")[0] == 0, "a table is made")
    recovered = instance.logs().count("not properly shut down")
    instance.restart("after a stop")
    ensure(sql("SELECT count(*) FROM kept") == (0, "200000"), "data is kept over stop and start")
    ensure(instance.logs().count("not properly shut down") == recovered, "it was shut down cleanly")
    sql("INSERT INTO kept VALUES (0)")
    instance.kill("database")
    until(lambda: not instance.pod("database").ready)
    instance.ready("after a kill")
    ensure(sql("SELECT count(*) FROM kept") == (0, "200001"), "data is kept over a kill")
    changed = sql("ALTER USER CURRENT_USER PASSWORD 'another'")
    ensure(changed[0] == 0, "the customer changes the password")
    time.sleep(12)
    ensure(instance.pod("database").ready, "it stays ready with another password")


def valkey(start):
    instance = start("valkey")
    if not instance.ready("a first start"):
        return

    def ask(*words, stdin=None, password=SECRET):
        return instance.run("valkey", "valkey-cli", "--no-auth-warning", "-a", password, *words, stdin=stdin)[1]

    ensure(ask("PING") == "PONG", "the customer logs in")
    ensure("PONG" not in ask("PING", password="wrong"), "a wrong password is refused")
    ask("SET", "kept", "yes")
    instance.restart("after a stop")
    ensure(ask("GET", "kept") == "yes", "data is kept over stop and start")
    # A thousand keys at a time: a longer script would be one write of its own to the log.
    write = """for i = ARGV[1], ARGV[1] + 999 do
      local said = server.pcall('SET', 'key' .. i, string.rep(ARGV[2], 1000))
      if type(said) == 'table' and said.err then return i end
    end return 0"""
    full = next((n for n in range(0, 200000, 1000) if ask("EVAL", write, "0", str(n), "x") != "0"), 0)
    ensure(full > 10000, f"a full memory refuses data, after {full // 1000} MB")
    for letter in "abc":
        ask("BGREWRITEAOF")
        for first in range(0, full, 1000):
            ask("EVAL", write, "0", str(first), letter)
        until(lambda: "aof_rewrite_in_progress:0" in ask("INFO", "persistence"), 60)
    ensure(not instance.happened("OOMKilled"), "it lives on when its full log is rewritten under load")
    instance.kill("valkey")
    until(lambda: not instance.pod("valkey").ready)
    instance.ready("after a kill")
    ensure(ask("GET", "kept") == "yes", "data is kept over a kill")


def mysql(start):
    """The database of a site, without the site."""
    instance = start("mysql", lambda object_: "database" in object_["metadata"]["name"])
    cut_off_first_start(instance, "database", (2, 5, 9))
    ensure(bool(instance.happened("init container exit")), "the first start was cut off")
    if not instance.ready("a first start that was cut off"):
        return
    name = instance.pod("database").containers[0].environment()["MYSQL_USER"]

    def sql(text, user=name, password=SECRET):
        words = ("mysql", "--host=127.0.0.1", f"--user={user}", f"--password={password}", "-N", "-B", name, "-e", text)
        code, said = instance.run("database", *words)
        return code, said.replace("mysql: [Warning] Using a password on the command line interface can be insecure.", "").strip()

    ensure(sql("SELECT 1") == (0, "1"), "the site logs in")
    ensure(sql("SELECT 1", password="wrong")[0] != 0, "a wrong password is refused")
    ensure(sql("SELECT 1", user="root", password="")[0] != 0, "the administrator has a password")
    ensure(sql("CREATE TABLE kept (n INT); INSERT INTO kept VALUES (1)")[0] == 0, "a table is made")
    instance.restart("after a stop")
    ensure(sql("SELECT n FROM kept") == (0, "1"), "data is kept over stop and start")
    instance.kill("database")
    until(lambda: not instance.pod("database").ready)
    instance.ready("after a kill")
    ensure(sql("SELECT n FROM kept") == (0, "1"), "data is kept over a kill")


def wordpress(start):
    instance = start("wordpress")
    if not instance.ready("a first start"):
        return
    ensure(not instance.happened("app/app: started (restart 1)"), "its first start needs no second one")
    front = next(name for name in instance.cluster.services if name.endswith("app"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    site = {"weblog_title": "A", "user_name": "owner", "admin_password": SECRET, "admin_password2": SECRET,
            "pw_weak": "on", "admin_email": "owner@example.com", "Submit": "Install"}

    def post(path, fields, headers=None):
        return instance.cluster.http(front, path, "POST", urllib.parse.urlencode(fields), form | (headers or {}))

    status, _, page = post("/wp-admin/install.php?step=2", site)
    ensure(status == 200 and b"Success" in page, f"the owner installs the site: {status}")
    for device in ("first", "second"):
        login = {"log": "owner", "pwd": SECRET, "wp-submit": "Log In", "testcookie": "1"}
        status, headers, _ = post("/wp-login.php", login, {"Cookie": "wordpress_test_cookie=WP%20Cookie%20check"})
        entered = status == 302 and any("logged_in" in value for _, value in headers)
        ensure(entered, f"the owner signs in on a {device} device: {status}")
    ask = "echo ini_get('upload_max_filesize'), ' ', ini_get('post_max_size');"
    ensure(instance.run("app", "php", "-r", ask)[1] == "64M 64M", "uploads may have 64 MB")
    instance.restart("after a stop")
    status, _, page = instance.cluster.http(front, "/?rest_route=/")
    ensure(status == 200 and b'"name":"A"' in page, f"the site is kept: {status}")


CHECKS = {"postgresql": (postgresql, images.databases), "valkey": (valkey, images.databases),
    "ghost-database": (mysql, images.mysql),
    "wordpress-database": (mysql, images.mysql),
    "wordpress": (wordpress, images.wordpress),
}


def main():
    application, plan, manifests, folder = sys.argv[1:]
    check, stand_ins = CHECKS[application]
    objects = load.plans(manifests)[(application.removesuffix("-database"), plan)]
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    made = stand_ins(folder)
    print(f"{application} {plan}", flush=True)
    started = []

    def start(name, wanted=lambda object_: True):
        kept = [one for one in objects if wanted(one)]
        started.append(Instance(f"{name}-{os.getpid()}", kept, made, folder))
        return started[-1]

    try:
        check(start)
    finally:
        for instance in started:
            if FAULTS or sys.exc_info()[0]:
                print(instance.logs()[-4000:])
            instance.end()
    if FAULTS:
        raise SystemExit(f"{application} {plan}: {len(FAULTS)} not as it is sold")


main()
