from openai import OpenAI
from said import ORDER, reading

client = OpenAI(api_key="key", base_url=ORDER["url"] + "/v1")


def read(piece):
    messages = [{"role": "user", "content": "Why?"}]
    for chunk in client.chat.completions.create(model="m", messages=messages, stream=True):
        piece(chunk.choices[0].delta.content or "")


reading(read)
