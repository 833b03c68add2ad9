"""Accounts and words of this shop for schemathesis: who asks, and what the formats of its document mean."""

import itertools
import os
import threading

import requests
import schemathesis
from hypothesis import strategies as st

ADMIN = {"email": os.environ["DERMAGA_ADMIN_EMAIL"], "password": os.environ["DERMAGA_ADMIN_PASSWORD"]}
PASSWORD = "kata sandi yang panjang"
IS_ADMINISTRATOR = os.environ["CONTRACT_ROLE"] == "administrator"
# Operations after which their caller's token, or account, is gone.
FAREWELLS = {"/api/auth/logout", "/api/auth/logout-all", "/api/user/sessions", "/api/user/sessions/{id}", "/api/user"}

numbers = itertools.count()
lock = threading.Lock()
kept = None


def post(context, path, body, token=None):
    base = context.operation.base_url
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(base + path, json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()["data"]


def new_customer(context):
    email = f"kontrak-{os.getpid()}-{next(numbers)}@example.com"
    person = {"email": email, "password": PASSWORD, "name": "Pelanggan"}
    return post(context, "/api/auth/register", person)


def furnish(context, customer):
    """Gives a customer something of everything, so that lists are not empty."""
    admin = post(context, "/api/auth/login", ADMIN)["accessToken"]
    wallet = f"/api/admin/wallets/{customer['user']['id']}/add-credit"
    post(context, wallet, {"amount": 900000, "reason": "Credit for the contract's test"}, admin)
    token = customer["accessToken"]
    plans = requests.get(context.operation.base_url + "/api/catalog/services/n8n/plans", timeout=60).json()["data"]
    post(context, "/api/subscriptions", {"planId": plans[1]["id"]}, token)
    post(context, "/api/wallet/topup", {"amount": 50000, "paymentMethod": "QRIS"}, token)
    post(context, "/api/webhooks", {"url": "https://127.0.0.1:9/"}, token)


@schemathesis.auth(refresh_interval=None)
class Caller:
    def get(self, case, context):
        global kept
        if context.operation.path in FAREWELLS:
            return new_customer(context)["accessToken"]
        with lock:
            if kept is None and IS_ADMINISTRATOR:
                furnish(context, new_customer(context))
                kept = post(context, "/api/auth/login", ADMIN)["accessToken"]
            elif kept is None:
                customer = new_customer(context)
                furnish(context, customer)
                kept = customer["accessToken"]
        return kept

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


letters = st.characters(min_codepoint=97, max_codepoint=122)
words = st.text(letters, min_size=1, max_size=12)
days = st.dates().map(lambda day: day.replace(year=2000 + day.year % 200).isoformat())
moments = st.tuples(days, st.times()).map(lambda parts: f"{parts[0]}T{parts[1].replace(microsecond=0).isoformat()}Z")
schemathesis.openapi.format("date-or-date-time", days | moments)
schemathesis.openapi.format("new-password", st.text(letters, min_size=12, max_size=40))
schemathesis.openapi.format("person-name", st.tuples(words, words).map(" ".join))
schemathesis.openapi.format("reason", st.text(letters, min_size=10, max_size=200))
schemathesis.openapi.format("phone", st.integers(10**8, 10**9 - 1).map("0812{}".format))
schemathesis.openapi.format("https-url", words.map("https://{}.example.com/".format))


@schemathesis.serializer("message/rfc822")
def mail(context, value):
    """Sends a mail as it is written; its schema is a string."""
    return value if isinstance(value, bytes) else str(value).encode()
