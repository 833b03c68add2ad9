"""Buys a plan with the client that openapi-python-client makes of the document.

usage: python buy.py BASE
"""

import sys
import time
import urllib.request

from dermaga_client import AuthenticatedClient, Client
from dermaga_client.api.accounts import post_auth_register
from dermaga_client.api.catalogue import get_catalog_services_by_slug_plans
from dermaga_client.api.instances import get_instances_by_id
from dermaga_client.api.subscriptions import post_subscriptions, post_subscriptions_quote
from dermaga_client.api.wallet import get_wallet_info, post_wallet_topup
from dermaga_client.models import Failure, OrderRequest, PaymentMethod, PurchaseRequest, Registration, TopUpRequest

BASE = sys.argv[1]


def got(answer):
    """The data of an answer."""
    if answer is None or isinstance(answer, Failure):
        raise SystemExit(f"refused: {answer}")
    return answer.data


def until(what, ask, is_done):
    for _ in range(600):
        found = ask()
        if is_done(found):
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what} never came")


person = Registration(
    email=f"klien-py-{time.time_ns()}@example.com", password="kata sandi yang panjang", name="Klien"
)
session = got(post_auth_register.sync(client=Client(base_url=BASE), body=person))
shop = AuthenticatedClient(base_url=BASE, token=session.access_token)

top_up = got(post_wallet_topup.sync(client=shop, body=TopUpRequest(amount=100_000, payment_method=PaymentMethod.QRIS)))
urllib.request.urlopen(urllib.request.Request(top_up.redirect_url, data=b"action=pay"))
until("the money", lambda: got(get_wallet_info.sync(client=shop)), lambda wallet: wallet.total_balance == 100_000)

plans = got(get_catalog_services_by_slug_plans.sync("n8n", client=shop))
plan = next(plan for plan in plans if plan.slug == "basic")
quote = got(post_subscriptions_quote.sync(client=shop, body=OrderRequest(plan_id=plan.id)))
order = PurchaseRequest(plan_id=plan.id, quote_id=quote.id)
bought = got(post_subscriptions.sync(client=shop, body=order))
instance = until(
    "the instance",
    lambda: got(get_instances_by_id.sync(bought.instance_id, client=shop)),
    lambda found: found.status == "WRITTEN",
)
left = got(get_wallet_info.sync(client=shop)).total_balance
if left != 100_000 - quote.due:
    raise SystemExit(f"{left} is left")
refused = post_subscriptions.sync(client=shop, body=PurchaseRequest(plan_id=bought.instance_id))
if not isinstance(refused, Failure) or refused.error.code != "NOT_FOUND":
    raise SystemExit(f"an unknown plan was sold: {refused}")
print(f"bought {instance.name} with Python for Rp{quote.due}")
