"""A language model's answer as a token stream. The request ends at once; who wants to read the answer subscribes."""

import os
import uuid

from fastapi import BackgroundTasks, FastAPI
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from redis.asyncio import Redis

from model import generate

app = FastAPI()
redis = Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))


class Question(BaseModel):
    prompt: str


@app.post("/ask", status_code=202)
async def ask(question: Question, tasks: BackgroundTasks) -> dict[str, str]:
    channel = f"answer.{uuid.uuid4()}"
    tasks.add_task(answer, f"sse:{channel}", question.prompt)
    return {"channel": channel}


async def answer(stream: str, prompt: str) -> None:
    try:
        async for token in generate(prompt):
            await redis.xadd(stream, {"data": token})
        await redis.xadd(stream, {"event": "done", "data": "", "final": 1})
    except Exception as error:
        await redis.xadd(stream, {"event": "failed", "data": type(error).__name__, "final": 1})
        raise
    finally:
        # An answer can be read again for an hour.
        await redis.expire(stream, 3600)


app.mount("/", StaticFiles(directory="page", html=True))
