"""Takes mails as a real SMTP server does (aiosmtpd), and prints each as a line of JSON.

usage: mail_server.py starttls|tls CERTIFICATE KEY USER PASSWORD

The first line is the port. Without encryption and this user nothing is taken.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

mode, certificate, key, user, password = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


class Printer:
    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "user": session.auth_data.login.decode(),
            "encrypted": session.ssl is not None or mode == "tls",
            "data": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


def sign_in(server, session, envelope, mechanism, given):
    right = LoginPassword(user.encode(), password.encode())
    return AuthResult(success=given == right, handled=False, auth_data=given)


def conversation():
    # aiosmtpd knows of encryption from the first byte only by what is left out here.
    starttls = {"tls_context": context, "require_starttls": True} if mode == "starttls" else {"auth_require_tls": False}
    return SMTP(Printer(), authenticator=sign_in, auth_required=True, **starttls)


async def serve():
    wrapped = context if mode == "tls" else None
    server = await asyncio.get_running_loop().create_server(conversation, "127.0.0.1", 0, ssl=wrapped)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
