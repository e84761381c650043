from anthropic import Anthropic
from said import ORDER, reading

client = Anthropic(api_key="key", base_url=ORDER["url"])


def read(piece):
    messages = [{"role": "user", "content": "Why?"}]
    for event in client.messages.create(model="m", max_tokens=1000, messages=messages, stream=True):
        if event.type == "content_block_delta":
            piece(event.delta.text)


reading(read)
