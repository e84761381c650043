package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tmaxmax/go-sse"
)

// tmaxmax: github.com/tmaxmax/go-sse, a client that connects again by itself.
func tmaxmax(o order) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, o.URL, nil)
	if err != nil {
		panic(err)
	}
	for name, value := range o.Headers {
		request.Header.Set(name, value)
	}
	if o.LastEventID != "" {
		request.Header.Set("Last-Event-ID", o.LastEventID)
	}
	status := 0
	client := sse.Client{
		OnRetry: func(err error, _ time.Duration) { failed(0, err) },
		// The library's own check, with a note of what it saw.
		ResponseValidator: func(answer *http.Response) error {
			status = answer.StatusCode
			err := sse.DefaultValidator(answer)
			if err == nil {
				say("answer", map[string]any{"protocol": answer.Proto})
				say("open", nil)
			}
			return err
		},
	}
	connection := client.NewConnection(request)
	connection.SubscribeToAll(func(each sse.Event) { event(each.Type, each.Data, each.LastEventID) })
	if err := connection.Connect(); err != nil {
		if status == http.StatusOK || errors.Is(err, context.Canceled) {
			status = 0
		}
		failed(status, err)
	}
}
