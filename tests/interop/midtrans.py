"""Asks a gateway as Midtrans' published client library does, and prints what it understood.

usage: midtrans.py BASE_URL SERVER_KEY create ORDER_ID AMOUNT
                                       status|cancel ORDER_ID
                                       refund ORDER_ID AMOUNT
                                       notification < NOTICE
"""

import hashlib
import json
import sys

import midtransclient
from midtransclient.config import ApiConfig

base, server_key, command, *rest = sys.argv[1:]
ApiConfig.CORE_SANDBOX_BASE_URL = base
ApiConfig.SNAP_SANDBOX_BASE_URL = base + "/snap/v1"
snap = midtransclient.Snap(is_production=False, server_key=server_key)


def signature(answer):
    """As in Midtrans' documentation of notices."""
    text = answer["order_id"] + answer["status_code"] + answer["gross_amount"] + server_key
    return hashlib.sha512(text.encode()).hexdigest()


def ask():
    if command == "create":
        order_id, amount = rest
        details = {"order_id": order_id, "gross_amount": int(amount)}
        return snap.create_transaction({"transaction_details": details, "credit_card": {"secure": True}})
    if command == "status":
        answer = snap.transactions.status(rest[0])
        return {**answer, "computed_signature": signature(answer)}
    if command == "cancel":
        return snap.transactions.cancel(rest[0])
    if command == "refund":
        return snap.transactions.refund(rest[0], {"refund_key": "interop-1", "amount": int(rest[1]), "reason": "interop"})
    if command == "notification":
        return snap.transactions.notification(sys.stdin.read())
    raise SystemExit(__doc__)


try:
    print(json.dumps(ask()))
except midtransclient.error_midtrans.MidtransAPIError as error:
    print(json.dumps({"refused": error.http_status_code, "answer": error.api_response_dict}))
