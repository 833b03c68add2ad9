"""Runs an application from the manifests that its plan renders, and checks that it really works.

Usage: check.py APPLICATION PLAN MANIFESTS FOLDER

MANIFESTS is the output of `dermaga plugin render`. The runner is in the folder that
DERMAGA_TEST_APP_RUNNER names: `load.plans` reads the manifests, `pkubelet.Cluster` runs their pods as
processes under the limits, users and probes that they state. Needs root, overlayfs, network
namespaces and version 1 of control groups; n8n and Ghost also need npm and a compiler. Trees of packages
are kept in FOLDER. Prints what happened and ends with 1 when something is not as it is sold.
"""

import os
import pathlib
import re
import sys
import time

import ghost
import images
import n8n
import node
import wordpress
from instance import FAULTS, SECRET, Instance, ensure, until

# Found in the runner's folder, which `instance` makes known.
import load  # noqa: E402


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


def postgresql_customer(instance):
    """Returns a function that runs SQL as the customer."""
    environment = dict(instance.pod("database").containers[0].environment())

    def sql(text, password=SECRET, host="127.0.0.1"):
        url = f"postgresql://{environment['POSTGRES_USER']}:{password}@{host}/{environment['POSTGRES_DB']}"
        return instance.run("database", "psql", url, "--no-psqlrc", "-Atqc", text)

    return sql


def postgresql(start):
    instance = start("postgresql")
    cut_off_first_start(instance, "database", (0.3, 0.8, 1.6))
    ensure(bool(instance.happened("init container exit")), "the first start was cut off")
    if not instance.ready("a first start that was cut off"):
        return
    sql = postgresql_customer(instance)
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


def postgresql_move(start):
    """Is moved to a larger plan, which replaces the pod as another image does: the distribution has one version."""
    instance = start("postgresql-move")
    if not instance.ready("a first start"):
        return
    sql = postgresql_customer(instance)
    ensure(sql("CREATE TABLE kept AS SELECT generate_series(1, 200000) AS n")[0] == 0, "a table is made")
    before, recovered = sql("SHOW max_connections"), instance.logs().count("not properly shut down")
    if not instance.move("pro"):
        return
    ensure(sql("SHOW max_connections") != before, f"it takes another number of connections than {before[1]}")
    ensure(sql("SELECT count(*), sum(n) FROM kept") == (0, "200000|20000100000"), "data is kept over the move")
    ensure(instance.logs().count("not properly shut down") == recovered, "it was shut down cleanly")
    ensure(sql("INSERT INTO kept VALUES (0)")[0] == 0, "data is written after the move")


def valkey_customer(instance):
    """Returns a function that sends a command as the customer."""

    def ask(*words, stdin=None, password=SECRET):
        return instance.run("valkey", "valkey-cli", "--no-auth-warning", "-a", password, *words, stdin=stdin)[1]

    return ask


def valkey(start):
    instance = start("valkey")
    if not instance.ready("a first start"):
        return
    ask = valkey_customer(instance)
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


def valkey_upgrade(start):
    """Begins with an older version, and is moved to a newer one, then to a larger plan."""
    instance = start("valkey-upgrade", older=True)
    if not instance.ready("a first start of the older version"):
        return
    ask = valkey_customer(instance)

    def version():
        return re.search(r"valkey_version:(\S+)", ask("INFO", "server"))[1]

    first = version()
    # Half of it goes into the file that a rewritten log begins with, the rest into the log.
    for number in range(100):
        ask("RPUSH", "kept", str(number))
        if number == 50:
            ask("BGREWRITEAOF")
            until(lambda: "aof_rewrite_in_progress:0" in ask("INFO", "persistence"))
    kept = ask("LRANGE", "kept", "0", "-1")
    ensure(kept.split() == [str(number) for number in range(100)], "a list is made")
    if not instance.upgrade():
        return
    ensure(version() != first, f"it has a newer version than {first}: {version()}")
    ensure(ask("LRANGE", "kept", "0", "-1") == kept, "data is kept over the upgrade")
    ensure(ask("RPUSH", "kept", "100") == "101", "data is written after the upgrade")
    memory = ask("CONFIG", "GET", "maxmemory")
    if not instance.move("basic"):
        return
    ensure(ask("CONFIG", "GET", "maxmemory") != memory, "it has the memory of the larger plan")
    ensure(ask("LRANGE", "kept", "0", "-1").split() == [*kept.split(), "100"], "data is kept over a move")


def is_of_database(object_):
    return "database" in object_["metadata"]["name"]


def mysql_site(instance):
    """Returns a function that runs SQL as the site."""
    name = instance.pod("database").containers[0].environment()["MYSQL_USER"]

    def sql(text, user=name, password=SECRET):
        words = ("mysql", "--host=127.0.0.1", f"--user={user}", f"--password={password}", "-N", "-B", name, "-e", text)
        code, said = instance.run("database", *words)
        return code, said.replace("mysql: [Warning] Using a password on the command line interface can be insecure.", "").strip()

    return sql


def mysql(start):
    """The database of a site, without the site."""
    instance = start("mysql", is_of_database)
    cut_off_first_start(instance, "database", (2, 5, 9))
    ensure(bool(instance.happened("init container exit")), "the first start was cut off")
    if not instance.ready("a first start that was cut off"):
        return
    sql = mysql_site(instance)
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


def mysql_move(start):
    """Is moved to a larger plan, which replaces the pod as another image does: the distribution has one version."""
    instance = start("mysql-move", is_of_database)
    if not instance.ready("a first start"):
        return
    sql = mysql_site(instance)
    made = "CREATE TABLE kept (n INT PRIMARY KEY, text VARCHAR(20)); INSERT INTO kept VALUES (1, 'one'), (2, 'two')"
    ensure(sql(made)[0] == 0, "a table is made")
    before = sql("SELECT @@innodb_buffer_pool_size")
    if not instance.move("pro"):
        return
    ensure(sql("SELECT @@innodb_buffer_pool_size") != before, "it has the memory of the larger plan")
    ensure(sql("SELECT n, text FROM kept ORDER BY n") == (0, "1\tone\n2\ttwo"), "data is kept over the move")
    ensure(sql("INSERT INTO kept VALUES (3, 'three')")[0] == 0, "data is written after the move")


CHECKS = {"postgresql": (postgresql, images.databases), "valkey": (valkey, images.databases),
    "postgresql-move": (postgresql_move, images.databases),
    "valkey-upgrade": (valkey_upgrade, images.valkey_upgrade),
    "ghost-database": (mysql, images.mysql),
    "wordpress-database": (mysql, images.mysql),
    "wordpress-database-move": (mysql_move, images.mysql),
    "wordpress": (wordpress.check, images.wordpress),
    "wordpress-mail": (wordpress.own_mail, images.wordpress),
    "wordpress-uploads": (wordpress.uploads, images.wordpress),
    "wordpress-upgrade": (wordpress.upgrade, images.wordpress_upgrade),
    "n8n": (n8n.check, node.n8n),
    "n8n-least": (n8n.least, node.n8n),
    "n8n-mail": (n8n.own_mail, node.n8n),
    "n8n-next": (n8n.next_line, node.n8n_next),
    "n8n-upgrade": (n8n.upgrade, node.n8n_upgrade),
    "ghost": (ghost.check, node.ghost),
    "ghost-mail": (ghost.own_mail, node.ghost),
    "ghost-upgrade": (ghost.upgrade, node.ghost_upgrade),
}


def main():
    application, plan, manifests, folder = sys.argv[1:]
    check, stand_ins = CHECKS[application]
    template = re.sub("(-(database|least|mail|move|next|upgrade|uploads))+$", "", application)
    plans = {size: objects for (of, size), objects in load.plans(manifests).items() if of == template}
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    made = stand_ins(folder)
    print(f"{application} {plan}", flush=True)
    started = []

    def start(name, wanted=lambda object_: True, older=False):
        kept = {size: [one for one in objects if wanted(one)] for size, objects in plans.items()}
        started.append(Instance(f"{name}-{os.getpid()}", kept, plan, made, folder, older))
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
