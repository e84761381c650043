"""Notifications per user. A user's token, in a cookie, lets them subscribe to their own channel and to no other."""

import json
import os
import re
import time

import jwt
import requests
from flask import Flask, abort, request, send_from_directory

NODE = os.environ.get("FANTAIL_URL", "http://127.0.0.1:8080")
SECRET = open(os.environ.get("JWT_KEY", "secret.txt")).read().rstrip("\n")
LIFE = int(os.environ.get("TOKEN_SECONDS", "600"))

app = Flask(__name__, static_folder="page", static_url_path="")


def token(subject: str, **rights: list[str]) -> str:
    return jwt.encode({"sub": subject, "exp": int(time.time()) + LIFE, "fantail": rights}, SECRET, "HS256")


def publish(user: str, kind: str, data: dict) -> dict:
    """One HTTP call; the answer says how many connections are reached, about."""
    bearer = token("app", publish=["user.*"])
    answer = requests.post(
        f"{NODE}/events/user.{user}",
        params={"event": kind, "subscribers": 1},
        data=json.dumps(data).encode(),
        headers={"Authorization": f"Bearer {bearer}"},
        timeout=5,
    )
    answer.raise_for_status()
    return answer.json()


def known(user: object) -> str:
    if not isinstance(user, str) or not re.fullmatch(r"[a-z0-9-]{1,40}", user):
        abort(400, "no such user")
    return user


def signed_in() -> str:
    try:
        return jwt.decode(request.cookies.get("session", ""), SECRET, ["HS256"])["sub"]
    except jwt.InvalidTokenError:
        abort(401)


def with_session(user: str):
    answer = app.make_response({"user": user})
    # Behind TLS: secure=True, and a name that begins with __Host-.
    answer.set_cookie("session", token(user, subscribe=["user.{sub}"]), max_age=LIFE, httponly=True, samesite="Lax")
    return answer


@app.post("/login")
def login():
    # Your own login goes here; this one believes everybody.
    return with_session(known(request.get_json().get("user")))


@app.post("/renew")
def renew():
    return with_session(signed_in())


@app.post("/notify")
def notify():
    # For other parts of the application, not for users. Where nobody is reached, send an e-mail.
    body = request.get_json()
    sent = publish(known(body.get("user")), "notification", {"text": str(body.get("text"))[:500]})
    return {"id": sent["id"], "reached": sent["subscribers"]}


@app.post("/read")
def read():
    # What is read is an event, too, so the user's other tabs and devices learn of it, and it survives them.
    publish(signed_in(), "read", {"upto": str(request.get_json().get("upto"))[:40]})
    return {}


@app.get("/")
def index():
    return send_from_directory("page", "index.html")
