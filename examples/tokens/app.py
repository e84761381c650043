"""A language model's answer as a stream that outlives its readers. The request ends with a redirect to the answer's channel."""

import json
import os
import uuid

from fastapi import BackgroundTasks, FastAPI, Response
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from redis.asyncio import Redis

from coalesce import coalesced
from model import generate

app = FastAPI()
redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))
node = os.environ.get("FANTAIL_URL", "http://127.0.0.1:8080")
# What comes within so many milliseconds goes out together; 0: each token by itself.
window = int(os.environ.get("COALESCE_MS", "0")) / 1000
# An answer can be read again for an hour.
KEPT = 3600


class Chat(BaseModel):
    id: str
    messages: list[dict]


@app.post("/chat")
async def ask(chat: Chat, tasks: BackgroundTasks) -> Response:
    channel = f"answer.{uuid.uuid4()}"
    # The stream is there before anybody is sent to it.
    await redis.xadd(f"sse:{channel}", {"data": json.dumps({"type": "start", "messageId": channel})})
    await redis.set(f"chat:{chat.id}", json.dumps({"messages": chat.messages, "channel": channel}), ex=KEPT)
    prompt = " ".join(part.get("text", "") for part in chat.messages[-1]["parts"])
    tasks.add_task(answer, f"sse:{channel}", prompt)
    return lead(channel)


@app.get("/chat/{id}")
async def messages(id: str) -> list[dict]:
    """All up to the last question; the answer to that one is read from its channel."""
    kept = await redis.get(f"chat:{id}")
    return json.loads(kept)["messages"] if kept else []


@app.get("/chat/{id}/stream")
async def again(id: str, lastEventId: str = "") -> Response:
    kept = await redis.get(f"chat:{id}")
    return lead(json.loads(kept)["channel"], lastEventId) if kept else Response(status_code=204)


def lead(channel: str, last: str = "") -> Response:
    """To the whole answer, or what comes after an id; what is not kept any more is an error, not a shorter answer."""
    where = f"&lastEventId={last}" if last else ""
    return RedirectResponse(f"{node}/events/{channel}?since=0-0&control=end{where}", status_code=303)


async def answer(stream: str, prompt: str) -> None:
    async def add(chunk: dict, **fields) -> None:
        await redis.xadd(stream, {"data": json.dumps(chunk), **fields})

    try:
        await add({"type": "text-start", "id": "0"})
        async for text in coalesced(generate(prompt), window):
            await add({"type": "text-delta", "id": "0", "delta": text})
        await add({"type": "text-end", "id": "0"})
        await add({"type": "finish"}, final=1)
    except Exception as error:
        await add({"type": "error", "errorText": f"the model failed: {type(error).__name__}"}, final=1)
        raise
    finally:
        await redis.expire(stream, KEPT)


app.mount("/", StaticFiles(directory="page/dist", html=True))
