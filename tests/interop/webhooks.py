"""Verifies a webhook with the library of the Standard Webhooks specification, and prints its payload.

usage: webhooks.py SECRET < {"headers": {...}, "body": "..."}
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

received = json.load(sys.stdin)
try:
    print(json.dumps(Webhook(sys.argv[1]).verify(received["body"], received["headers"])))
except WebhookVerificationError as error:
    print(json.dumps({"refused": str(error)}))
