package main

import (
	"errors"

	"github.com/r3labs/sse/v2"
)

// r3labs: github.com/r3labs/sse/v2, a client that connects again by itself.
func r3labs(o order) {
	client := sse.NewClient(o.URL)
	for name, value := range o.Headers {
		client.Headers[name] = value
	}
	if o.LastEventID != "" {
		client.LastEventID.Store([]byte(o.LastEventID))
	}
	client.OnConnect(func(*sse.Client) { say("open", nil) })
	client.OnDisconnect(func(*sse.Client) { failed(0, errors.New("disconnected")) })
	err := client.SubscribeRaw(func(each *sse.Event) {
		event(string(each.Event), string(each.Data), string(each.ID))
	})
	if err != nil {
		failed(0, err)
	}
}
