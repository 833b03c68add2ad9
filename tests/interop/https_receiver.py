"""Takes webhooks over HTTPS, and prints each as a line of JSON. Needs the standard library only.

usage: https_receiver.py CERTIFICATE KEY

The first line is the port.
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


def remember(connection, name, _context):
    connection.asked_for = name


context.sni_callback = remember


class Printer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        taken = {
            "server_name": getattr(self.connection, "asked_for", None),
            "host": self.headers["Host"],
            "path": self.path,
            "id": self.headers["webhook-id"],
            "body": body,
        }
        print(json.dumps(taken), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(HTTPServer):
    def handle_error(self, *_):
        # A client that refuses the certificate ends the handshake; the next one is served.
        pass


server = Server(("127.0.0.1", 0), Printer)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
