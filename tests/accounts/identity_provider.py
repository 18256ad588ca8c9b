"""An identity provider of its own process: discovery, keys, code flow with PKCE, over real HTTP.

Strict in what a provider should be strict in. What it says of the next person, and how wrongly,
is told to it by `POST /next`:

    claims      of the identity token, over what is right; None leaves one out
    userinfo    what is told of the person, over what is right
    sign        "well", "by another", "with the secret", "not at all"
    issuer      what it calls itself
    shown       what its key is called where it shows it
    named       what its key is called in an identity token
    refuse      people are sent back with an error

Run as a script, it says its address and serves until it is killed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "landscape", "planted-client-secret"
PERSON = {"sub": "7", "preferred_username": "grace@example.com", "name": "Grace Hopper"}


class Provider(BaseHTTPRequestHandler):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    orders: dict = {}
    codes: dict = {}
    tokens: dict = {}

    @property
    def here(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            self.say(200, {
                "issuer": self.orders.get("issuer", self.here),
                "authorization_endpoint": f"{self.here}/authorize",
                "token_endpoint": f"{self.here}/token",
                "userinfo_endpoint": f"{self.here}/userinfo",
                "jwks_uri": f"{self.here}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            })  # fmt: skip
        elif url.path == "/keys":
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
            self.say(
                200, {"keys": [public | {"kid": self.orders.get("shown", "one"), "use": "sig"}]}
            )
        elif url.path == "/authorize":
            self.authorize(asked)
        elif url.path == "/userinfo":
            orders = self.tokens[self.headers["Authorization"].removeprefix("Bearer ")]
            self.say(200, PERSON | orders.get("userinfo", {}))
        else:
            self.say(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/next":
            type(self).orders = json.loads(body)
            self.say(200, {})
        else:
            self.token({name: values[0] for name, values in parse_qs(body).items()})

    def authorize(self, asked):
        """Send the person back with a code; nobody is asked anything here."""
        fit = (
            asked["client_id"] == CLIENT
            and asked["response_type"] == "code"
            and set(asked["scope"].split()) == {"openid", "profile"}
            and asked["code_challenge_method"] == "S256"
            and len(asked["nonce"]) > 20
            and asked["max_age"] == "900"
        )
        if not fit:
            self.say(400, {"error": "invalid_request"})
            return
        code = secrets.token_hex(8)
        self.codes[code] = asked | {"orders": self.orders}
        answer = {"error": "access_denied"} if self.orders.get("refuse") else {"code": code}
        self.send_response(302)
        query = urlencode(answer | {"state": asked["state"]})
        self.send_header("Location", f"{asked['redirect_uri']}?{query}")
        self.end_headers()

    def token(self, asked):
        """Give tokens for a code: once, to the client that proves itself and began the visit."""
        known = self.codes.pop(asked.get("code"), None)
        mine = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        fit = (
            known
            and self.headers["Authorization"] == f"Basic {mine}"
            and asked["redirect_uri"] == known["redirect_uri"]
            and known["code_challenge"] == base64.urlsafe_b64encode(challenge).decode().rstrip("=")
        )
        if not fit:
            self.say(400, {"error": "invalid_grant", "said": "planted-in-an-error"})
            return
        access = f"planted-token-{secrets.token_hex(8)}"
        self.tokens[access] = known["orders"]
        signed = self.signed(known)
        self.say(200, {"access_token": access, "token_type": "Bearer", "id_token": signed})

    def signed(self, known):
        orders, now = known["orders"], int(time.time())
        claims = {
            "iss": self.here,
            "aud": CLIENT,
            "sub": PERSON["sub"],
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": known["nonce"],
        } | orders.get("claims", {})
        claims = {name: value for name, value in claims.items() if value is not None}
        key, algorithm = {
            "well": (self.key, "RS256"),
            "by another": (self.other, "RS256"),
            "with the secret": (SECRET * 2, "HS256"),
            "not at all": (None, "none"),
        }[orders.get("sign", "well")]
        return jwt.encode(
            claims, key, algorithm=algorithm, headers={"kid": orders.get("named", "one")}
        )

    def say(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()
